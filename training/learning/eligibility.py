"""Eligibility traces of a recurrent layer: what its parameters have done to its state so far.

With h_t the state of a neuron (potential, average and own last spikes), c_t its input current,
theta its own parameters (logits of rates), all of one neuron, and x_t what its synapse receives:

    D_t   = dh_t/dh_{t-1}                            at fixed c_t, from the neuron's own equation
    e_t^W = D_t e_{t-1}^W + dh_t/dc_t [x_t, s_{t-1}, 1]      for weights and bias of its synapse
    e_t^p = D_t e_{t-1}^p + dh_t/dtheta                      for its own parameters

Derivatives of spikes are the surrogate's, and go through the reset. What is left out, and alone
makes e-prop an approximation, is what a spike does at later steps through synapses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from spyv4.network.blocks import SpikingDense

Traces = list[Tensor | None]
"""One a variable of the state, [B, N, ...]; None where it is 0."""


class Eligibility:
    """The traces of one layer, while one sequence goes through it.

    Args:
        layer: of neurons whose state at a step depends on their own state and current alone.
    """

    def __init__(self, layer: SpikingDense) -> None:
        self.layer = layer
        self.own = dict(layer.neuron.named_parameters())
        variables = len(layer.neuron.state_type._fields)
        self._synapse: Traces = [None] * variables
        self._own: dict[str, Traces] = {name: [None] * variables for name in self.own}
        self._before: Any = ()
        self._received: list[Tensor] = []
        self._currents: list[Tensor] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within the block the layer's steps are followed."""
        hooks = (
            self.layer.register_forward_pre_hook(self._at_layer),
            self.layer.synapse.register_forward_hook(self._at_synapse),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _at_layer(self, _: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Make the state that comes in one whose gradient is asked for."""
        x, state = arguments
        self._before = type(state.neuron)(*(v.detach().requires_grad_() for v in state.neuron))
        return x, state._replace(neuron=self._before, spikes=state.spikes.detach())

    def _at_synapse(self, _: nn.Module, arguments: tuple[Any, ...], current: Tensor) -> None:
        self._received.append(arguments[0].detach())
        self._currents.append(current.detach())

    @property
    def steps_heard(self) -> int:
        """How often the layer has computed since the last `advance`."""
        return len(self._currents)

    @torch.no_grad()
    def credit(self) -> None:
        """Add to the gradients what parameters did to the loss by the state that came in.

        To be called after the step's loss has gone back, before `advance`.
        """
        slopes = [v.grad for v in self._before]
        weight, bias = self.layer.synapse.weight, self.layer.synapse.bias
        for slope, trace in zip(slopes, self._synapse, strict=True):
            if slope is not None and trace is not None:
                gradient = (slope.unsqueeze(-1) * trace).sum(0)
                _add_gradient(weight, gradient[:, :-1])
                _add_gradient(bias, gradient[:, -1])
        for name, parameter in self.own.items():
            for slope, trace in zip(slopes, self._own[name], strict=True):
                if slope is not None and trace is not None:
                    _add_gradient(parameter, (slope * trace).sum(0))

    def advance(self) -> None:
        """Carry the traces over the step that was heard."""
        (received,), (current,) = self._received, self._currents
        self._received, self._currents = [], []
        rows = self._slopes(current)
        with torch.no_grad():
            inputs = torch.cat((received, torch.ones_like(received[:, :1])), dim=1).unsqueeze(1)
            synapse: Traces = []
            own: dict[str, Traces] = {name: [] for name in self.own}
            for row in rows:
                fresh = None if row.current is None else row.current.unsqueeze(-1) * inputs
                synapse.append(_carried(row.state, self._synapse, fresh))
                for name, slope in zip(self.own, row.own, strict=True):
                    own[name].append(_carried(row.state, self._own[name], slope))
        self._synapse, self._own = synapse, own

    def _slopes(self, current: Tensor) -> list["_Slopes"]:
        """Derivatives of every variable of the state after the step, neuron by neuron."""
        with torch.enable_grad():
            current = current.requires_grad_()
            before = type(self._before)(*(v.detach().requires_grad_() for v in self._before))
            # A copy for every sample, so that each gets a derivative of its own.
            own = {
                name: parameter.detach().expand_as(current).clone().requires_grad_()
                for name, parameter in self.own.items()
            }
            _, after = functional_call(self.layer.neuron, own, (current, before))
            causes = [*before, current, *own.values()]
            rows = []
            for variable in after:
                # The sum's derivatives are the neurons' own, since none acts on another.
                found = torch.autograd.grad(
                    variable.sum(), causes, retain_graph=True, allow_unused=True
                )
                rows.append(
                    _Slopes(found[: len(before)], found[len(before)], found[len(before) + 1 :])
                )
        return rows


class _Slopes(NamedTuple):
    """Derivatives of one variable of the state after a step, each [B, N]; None for 0.

    Attributes:
        state: with respect to every variable before it.
        current: with respect to the input current.
        own: with respect to every parameter of the neurons.
    """

    state: tuple[Tensor | None, ...]
    current: Tensor | None
    own: tuple[Tensor | None, ...]


def _carried(
    slopes: tuple[Tensor | None, ...], traces: Traces, fresh: Tensor | None
) -> Tensor | None:
    """A variable's trace after a step: what came before, carried on, and what the step adds."""
    total = fresh
    for slope, trace in zip(slopes, traces, strict=True):
        if slope is None or trace is None:
            continue
        if trace.ndim > slope.ndim:
            slope = slope.unsqueeze(-1)
        total = slope * trace if total is None else torch.addcmul(total, slope, trace)
    return total


def _add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    """Add to what is there already."""
    if parameter.requires_grad:
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
