"""Layers of the tasks' networks that are not spiking layers of the detector.

All have `initial_state(batch)` and a pure step `(x, state) -> (y, state)`, as `SpikingDense` has.
The state of those that remember nothing is `()`.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spyv4.config import NeuronConfig
from spyv4.network.blocks import SpikingConv2d, SpikingDense


class LeakyReadout(nn.Module):
    """Leaky integrators that are read out (paper, Methods: `10I`).

        o_t = o_{t-1} + r (W x_t + bias - o_{t-1}),   r = sigmoid(w), one learned w an output

    With r = 1 - exp(-1 / tau): the paper reports tau of 87 (S-MNIST) and 65 steps after training.

    Args:
        inputs: values a step.
        size: outputs.
        steps: tau at the start, in steps, > 0.
    """

    def __init__(self, inputs: int, size: int, steps: float) -> None:
        super().__init__()
        self.synapse = nn.Linear(inputs, size)
        rate = -math.expm1(-1 / steps)
        self.rate_logit = nn.Parameter(torch.full((size,), math.log(rate / (1 - rate))))

    def initial_state(self, batch: int) -> Tensor:
        """Zeros, [batch, size]."""
        return self.rate_logit.new_zeros(batch, len(self.rate_logit))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs, [B, size], which are the state."""
        out = torch.lerp(state, self.synapse(x), self.rate_logit.sigmoid())
        return out, out


class LSTMState(NamedTuple):
    """State of an LSTM layer, [B, size] each."""

    hidden: Tensor
    cell: Tensor


class LSTMLayer(nn.Module):
    """An LSTM cell in place of recurrent spiking neurons.

    Args:
        inputs: values a step.
        size: units.
    """

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(inputs, size)

    def initial_state(self, batch: int) -> LSTMState:
        """Zeros."""
        zeros = self.cell.weight_ih.new_zeros(batch, self.cell.hidden_size)
        return LSTMState(zeros, zeros.clone())

    def forward(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """The output, [B, size], in (-1, 1), and the new state."""
        after = LSTMState(*self.cell(x, state))
        return after.hidden, after

    def potential(self, state: LSTMState) -> Tensor:
        """What a read-out of potentials sees: the output."""
        return state.hidden


class PlacedConv(nn.Module):
    """A spiking convolution that knows the size of its picture.

    Args:
        conv: the convolution.
        shape: (channels, height, width) of its output.
    """

    def __init__(self, conv: SpikingConv2d, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv, self.shape = conv, shape

    def initial_state(self, batch: int) -> Any:
        """Rest."""
        like = self.conv.synapse.conv.weight
        return self.conv.neuron.initial_state((batch, *self.shape), like=like)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Spikes, [B, *shape], and the new state."""
        spikes, after = self.conv(x, state)
        return spikes, after


class Stateless(nn.Module):
    """A layer that remembers nothing."""

    def initial_state(self, _batch: int) -> tuple[()]:
        """Nothing."""
        return ()


class MaxPool(Stateless):
    """A max-pooling of spikes.

    Args:
        kernel: in pixels.
        stride: in pixels.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor, state: tuple[()]) -> tuple[Tensor, tuple[()]]:
        """Pooled spikes."""
        return functional.max_pool2d(x, self.kernel, self.stride), state


class Flatten(Stateless):
    """Pictures averaged in square blocks, and their values in a row.

    Args:
        block: side of the blocks in pixels; 1 for all pixels.
        keep_channels: whether [B, C, N] is wanted, and not [B, C N].
    """

    def __init__(self, block: int = 1, *, keep_channels: bool = False) -> None:
        super().__init__()
        self.block, self.first = block, 2 if keep_channels else 1

    def forward(self, x: Tensor, state: tuple[()]) -> tuple[Tensor, tuple[()]]:
        """Values in a row."""
        if self.block > 1:
            x = functional.avg_pool2d(x, self.block)
        return x.flatten(self.first), state


class SideBySide(nn.Module):
    """A dense layer for each channel of the input (paper, Methods: `[512D,512D]`).

    Args:
        inputs: values of a channel, for each.
        sizes: neurons, for each.
        neuron: of all.
    """

    def __init__(self, inputs: int, sizes: tuple[int, ...], neuron: NeuronConfig) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            SpikingDense(inputs, size, neuron, recurrent=False) for size in sizes
        )

    def initial_state(self, batch: int) -> tuple[Any, ...]:
        """Rest, for each branch."""
        return tuple(branch.initial_state(batch) for branch in self._dense())

    def forward(self, x: Tensor, state: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        """Spikes of all branches one after the other, for x [B, C, N], and the new states."""
        found = [
            branch(channel, own)
            for branch, channel, own in zip(self.branches, x.unbind(1), state, strict=True)
        ]
        return torch.cat([spikes for spikes, _ in found], dim=1), tuple(own for _, own in found)

    def _dense(self) -> list[SpikingDense]:
        return [branch for branch in self.branches if isinstance(branch, SpikingDense)]
