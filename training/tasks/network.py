"""The networks of the tasks, built from the paper's notation and a neuron."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from spyv4.config import NeuronConfig
from spyv4.errors import ConfigError
from spyv4.network.blocks import SpikingConv2d, SpikingDense
from spyv4.neurons.adaptive_ltc import THRESHOLD_FLOOR
from spyv4.validation import from_mapping
from training.tasks.layers import (
    Flatten,
    LeakyReadout,
    LSTMLayer,
    MaxPool,
    PlacedConv,
    SideBySide,
)
from training.tasks.parts import (
    Branches,
    Conv,
    Layer,
    Leaky,
    Network,
    Pool,
    Recurrent,
    Values,
)

NeuronName = Literal["ltc", "alif", "lif", "izhikevich", "hodgkin-huxley", "lstm"]
KINDS: Mapping[str, str] = {"ltc": "adaptive-ltc", "alif": "adaptive-lif", "lstm": "leaky-relu"}
"""`NeuronConfig.kind` of the names that the paper gives; of `lstm` that of its feed-forward layers,
which do not spike. LTC and ALIF neurons have adaptive thresholds here (equation 8)."""
Shape = tuple[int, ...]


def neuron_config(neuron: NeuronName, rate_bias: float = 0.0) -> NeuronConfig:
    """The neuron of a name.

    Args:
        neuron: as the paper calls it; `lstm` gives that of feed-forward layers beside LSTM cells.
        rate_bias: logit at which its rates start.
    """
    kind = KINDS.get(neuron, neuron)
    values = {"kind": kind, "fusion": "concat", "rate_bias": rate_bias}
    if kind == "lif":  # that of the adaptive ones at rest; at 1 whole layers are silent for good
        values["threshold"] = THRESHOLD_FLOOR
    return from_mapping(NeuronConfig, values)


class TaskNetwork(nn.Module):
    """A network of the paper's notation; a pure step from input and state to output and state.

    The state maps the number of a layer, from the input on, to that layer's state.

    Args:
        network: its parts.
        inputs: shape of a step: (channels, height, width), or (values,).
        neuron: of all spiking layers; `lstm` for LSTM cells in place of the recurrent ones, and
            leaky ReLU in place of the neurons of the others.
        rate_bias: logit at which the neurons' rates start.
        readout_steps: time constant at which leaky integrators start, in steps, > 0.

    Raises:
        ConfigError: if the inputs do not fit the network, or `lstm` has nothing to be.
    """

    def __init__(
        self,
        network: Network,
        inputs: Shape,
        neuron: NeuronName,
        *,
        rate_bias: float = 0.0,
        readout_steps: float = 20.0,
    ) -> None:
        super().__init__()
        if neuron == "lstm" and not any(isinstance(part, Recurrent) for part in network.layers):
            raise ConfigError(
                f"lstm needs a recurrent layer such as 512R, which {network} has not; choose a "
                "spiking neuron or another network"
            )
        self.notation, self.lstm = network, neuron == "lstm"
        self.neuron, self.readout_steps = neuron_config(neuron, rate_bias), readout_steps
        self.reads_potentials = isinstance(network.readout, Values)
        self.layers = nn.ModuleDict()
        shape = inputs
        if network.inputs is not None:
            shape = self._add(*_inputs(network.inputs, shape))
        for part in network.layers:
            if len(shape) == 3 and not isinstance(part, Conv | Pool):
                shape = self._add(Flatten(), (math.prod(shape),))
            shape = self._add(*self._layer(part, shape))
        self.readout = self._readout(network.readout, math.prod(shape))

    def _add(self, layer: nn.Module, shape: Shape) -> Shape:
        """The next layer, whose output has this shape."""
        self.layers[str(len(self.layers))] = layer
        return shape

    def _layer(self, part: Layer, shape: Shape) -> tuple[nn.Module, Shape]:
        """One layer for inputs of `shape`, and the shape of its outputs."""
        if isinstance(part, Conv | Pool) and len(shape) != 3:
            raise ConfigError(f"{part} needs pictures, and not steps of shape {shape}")
        if isinstance(part, Conv):
            return _conv(part, shape, self.neuron)
        if isinstance(part, Pool):
            return MaxPool(part.kernel, part.stride), _reduced(part, shape, part.kernel, 0)
        if isinstance(part, Branches):
            sizes = tuple(branch.size for branch in part.parts)
            return SideBySide(shape[1], sizes, self.neuron), (sum(sizes),)
        recurrent = isinstance(part, Recurrent)
        if recurrent and self.lstm:
            return LSTMLayer(shape[0], part.size), (part.size,)
        layer = SpikingDense(shape[0], part.size, self.neuron, recurrent=recurrent)
        return layer, (part.size,)

    def _readout(self, part: Leaky | Values, inputs: int) -> nn.Module:
        if isinstance(part, Leaky):
            return LeakyReadout(inputs, part.size, self.readout_steps)
        return nn.Linear(inputs, part.size)

    def initial_state(self, batch: int) -> dict[str, Any]:
        """Rest.

        Args:
            batch: sequences.
        """
        state = {name: layer.initial_state(batch) for name, layer in self.layers.items()}  # type: ignore[operator]
        if isinstance(self.readout, LeakyReadout):
            state["readout"] = self.readout.initial_state(batch)
        return state

    def forward(self, x: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One step.

        Args:
            x: [B, *inputs].
            state: after the step before.

        Returns:
            The outputs so far, [B, outputs], and the new state.
        """
        after: dict[str, Any] = {}
        for name, layer in self.layers.items():
            x, after[name] = layer(x, state[name])
        if self.reads_potentials:
            return self.readout(layer.potential(after[name])), after  # type: ignore[operator]
        out, after["readout"] = self.readout(x, state["readout"])
        return out, after


def _inputs(part: Values | Branches, shape: Shape) -> tuple[nn.Module, Shape]:
    """What makes steps of `shape` the inputs that the notation names."""
    branches = isinstance(part, Branches)
    sizes = [channel.size for channel in part.parts] if isinstance(part, Branches) else [part.size]
    block = math.isqrt(math.prod(shape) // sum(sizes))
    fits = block**2 * sum(sizes) == math.prod(shape)
    if block > 1:
        fits = fits and len(shape) == 3 and all(side % block == 0 for side in shape[1:])
    if branches:
        fits = fits and len(shape) == 3 and shape[0] == len(sizes) and len(set(sizes)) == 1
    if not fits:
        raise ConfigError(
            f"the network's inputs {part} do not fit steps of shape {shape}, nor the means of "
            "square blocks of them; leave them out or name those of the task"
        )
    flatten = Flatten(block, keep_channels=branches)
    return flatten, (len(sizes), sizes[0]) if branches else (sizes[0],)


def _conv(part: Conv, shape: Shape, neuron: NeuronConfig) -> tuple[nn.Module, Shape]:
    if part.kernel % 2 == 0 or part.padding != part.kernel // 2:
        raise ConfigError(
            f"{part} must have an odd kernel and half of it as padding: "
            f"P{part.kernel // 2} for K{part.kernel | 1}"
        )
    conv = SpikingConv2d(shape[0], part.channels, part.kernel, neuron, stride=part.stride)
    out = _reduced(part, (part.channels, *shape[1:]), part.kernel, part.padding)
    return PlacedConv(conv, out), out


def _reduced(part: Conv | Pool, shape: Shape, kernel: int, padding: int) -> tuple[int, int, int]:
    """Shape of what a convolution or pooling gives."""
    channels, *sides = shape
    height, width = ((side + 2 * padding - kernel) // part.stride + 1 for side in sides)
    if min(height, width) < 1:
        raise ConfigError(f"{part} needs pictures of at least {kernel} pixels, not {sides}")
    return channels, height, width
