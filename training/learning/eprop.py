"""e-prop: gradients by traces that are carried forward, where BPTT goes back through time.

    dL_t/dW = within step t + (dL_t/dh_{t-1}) e_{t-1}^W

The loss of a step goes back through this step alone, down to the state h_{t-1} that came in, and
from there the eligibility traces (`training.learning.eligibility`) say what W has done to that
state. Memory does not grow with the sequence. Parameters of other layers learn from within the
step: a read-out's gradient is exact, and other recurrent state, such as that of a leaky read-out,
is a constant. Source: Bellec et al. 2020, A solution to the learning dilemma for recurrent networks
of spiking neurons, equations 1 to 4; the learning signal is the true one of the step (symmetric
e-prop), not by random feedback.
"""

from contextlib import ExitStack
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from spyv4.network.blocks import SpikingDense
from spyv4.neurons import Neuron
from spyv4.validation import require
from training.config import LearnerConfig
from training.learning.eligibility import Eligibility
from training.learning.learner import (
    Learned,
    Learner,
    Loss,
    Observation,
    Output,
    State,
    Step,
    constant,
)
from training.learning.segments import Segment, segments

NEURONS = ("lif", "adaptive-lif")
"""Those whose state depends on their own past alone."""


class EProp(Learner):
    """Trains a network whose recurrent layers are `SpikingDense`, of LIF or adaptive LIF neurons.

    Args:
        network: every recurrent layer of it must compute once a step.
        optimizer: of its parameters; steps once a segment.
        config: of kind `eprop`; segments only say when there is an update, and what is judged.

    Raises:
        ConfigError: if the network has other recurrent layers, or none.
    """

    kinds: ClassVar[tuple[str, ...]] = ("eprop",)

    def __init__(
        self, network: nn.Module, optimizer: torch.optim.Optimizer, config: LearnerConfig
    ) -> None:
        super().__init__(network.parameters(), optimizer, config)
        self.network = network
        self.layers = recurrent_layers(network)

    def sequence(
        self,
        step: Step[State, Output],
        loss: Loss[Output],
        state: State,
        steps: int,
        *,
        observe: bool = False,
    ) -> Learned[State]:
        """Learn from one sequence; see `Learner.sequence`.

        Raises:
            ConfigError: if the network was compiled, or a layer does not compute once a step.
        """
        require(
            not any(module._compiled_call_impl for module in self.network.modules()),
            "e-prop looks into the layers of a network, which is compiled; do not compile it",
        )
        losses: list[Tensor] = []
        observation: Observation | None = None
        state = tree_map(constant, state)
        traces = [Eligibility(layer) for layer in self.layers]
        cuts = segments(self.config, steps)
        with ExitStack() as stack:
            for trace in traces:
                stack.enter_context(trace.listening())
            for cut in cuts:
                total, state = self._forward(cut, step, loss, state, traces)
                losses.append(total)
                observation = self._update(observe=observe and cut is cuts[-1])
        return Learned(torch.stack(losses).mean(), state, observation)

    def _forward(
        self,
        cut: Segment,
        step: Step[State, Output],
        loss: Loss[Output],
        state: State,
        traces: list[Eligibility],
    ) -> tuple[Tensor, State]:
        """Gradients of a segment's loss; the loss, and the state after it."""
        every = self.config.loss_at == "every"
        terms: list[Tensor] = []
        for t in range(cut.start, cut.stop):
            judged = every or t == cut.stop - 1
            with torch.set_grad_enabled(judged):
                output, state = step(t, state)
            for trace in traces:
                require(
                    trace.steps_heard == 1,
                    "e-prop needs every recurrent layer to compute once a step, by being called "
                    f"itself, not {trace.steps_heard} times; choose another learner",
                )
            if judged:
                term = loss(output, t) / (cut.stop - cut.start if every else 1)
                term.backward()  # type: ignore[no-untyped-call]
                terms.append(term.detach())
                for trace in traces:
                    trace.credit()
            for trace in traces:
                trace.advance()
            state = tree_map(constant, state)
        return torch.stack(terms).sum(), state


def recurrent_layers(network: nn.Module) -> list[SpikingDense]:
    """The recurrent layers of a network, of which e-prop must know all.

    Raises:
        ConfigError: if it has recurrent layers that e-prop does not know, or none.
    """
    layers = [module for module in network.modules() if isinstance(module, SpikingDense)]
    known = {layer.neuron for layer in layers}
    for module in network.modules():
        if isinstance(module, Neuron):
            _require_local(module)
            require(
                module in known,
                f"e-prop knows dense recurrent layers alone: the weights of a convolution, as of "
                f"this layer of {module.config.kind} neurons, act on every place, and would need a "
                "trace for each; choose another learner",
            )
        require(
            not isinstance(module, nn.RNNBase | nn.RNNCellBase),
            f"e-prop needs spiking neurons that remember by themselves, not "
            f"{type(module).__name__}, whose cells mix their states; choose another learner",
        )
    require(bool(layers), "e-prop found no recurrent layer (SpikingDense); choose another learner")
    return layers


def _require_local(neuron: Neuron) -> None:
    """Raise `ConfigError` for neurons without local traces."""
    kind = neuron.config.kind
    reason = (
        "the rates of ltc neurons are mixed across the layer, so that a weight acts on all states"
        if kind.endswith("ltc")
        else "its traces are those of leaky integrators"
    )
    require(
        kind in NEURONS,
        f"e-prop needs {' or '.join(NEURONS)} neurons, not {kind}: {reason}; choose another "
        "learner, or other neurons",
    )
