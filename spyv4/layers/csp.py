"""The spiking cross-stage-partial block (reference section 1, layers 3 to 14)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spyv4.config import NeuronConfig
from spyv4.layers.conv import NeuronState, SpikingConv2d


class CSPState(NamedTuple):
    """States of the four spiking convolutions of a block."""

    a: NeuronState
    b: NeuronState
    c: NeuronState
    d: NeuronState


class CSPSpikes(NamedTuple):
    """Spikes of the four spiking convolutions of a block, each [B, C, H, W]."""

    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor


class SpikingCSPBlock(nn.Module):
    """Four spiking convolutions whose routes are joined by concatenation, never by addition.

        a = conv3x3(x);  b = conv3x3(second half of a);  c = conv3x3(b);  d = conv1x1([c, b])
        out = maxpool2([a, d])

    Concatenation and max-pooling keep every message in {0, 1}.
    """

    def __init__(self, planes: int, neuron: NeuronConfig) -> None:
        super().__init__()
        half = planes // 2
        self.a = SpikingConv2d(planes, planes, 3, neuron)
        self.b = SpikingConv2d(half, half, 3, neuron)
        self.c = SpikingConv2d(half, half, 3, neuron)
        self.d = SpikingConv2d(planes, planes, 1, neuron)

    def initial_state(
        self,
        batch: int,
        in_size: tuple[int, int],
        *,
        like: Tensor,
        generator: torch.Generator | None = None,
    ) -> CSPState:
        """States at rest, or random ones when a generator is given; dtype and device of `like`."""
        return CSPState(
            *(
                layer.initial_state(batch, in_size, like=like, generator=generator)
                for layer in (self.a, self.b, self.c, self.d)
            )
        )

    def forward(self, x: Tensor, state: CSPState) -> tuple[Tensor, CSPState, CSPSpikes]:
        """One read.

        Args:
            x: spikes [B, planes, H, W].
            state: state after the read before.

        Returns:
            Spikes [B, 2 planes, H/2, W/2], the new state, and the spikes of each layer.
        """
        a, state_a = self.a(x, state.a)
        b, state_b = self.b(a.chunk(2, dim=1)[1], state.b)
        c, state_c = self.c(b, state.c)
        d, state_d = self.d(torch.cat((c, b), dim=1), state.d)
        pooled = functional.max_pool2d(torch.cat((a, d), dim=1), 2)
        return pooled, CSPState(state_a, state_b, state_c, state_d), CSPSpikes(a, b, c, d)
