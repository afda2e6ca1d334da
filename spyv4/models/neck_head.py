"""The spiking neck (layers 15 to 19) and the two ordinary output convolutions."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spyv4.config import NeuronConfig
from spyv4.layers.conv import NeuronState, SpikingConv2d
from spyv4.types import HeadMaps


class NeckState(NamedTuple):
    """States of the neck's layers."""

    deep: NeuronState
    p5: NeuronState
    p5_out: NeuronState
    lateral: NeuronState
    p4_out: NeuronState


class NeckSpikes(NamedTuple):
    """Spikes of the neck's layers."""

    deep: Tensor
    p5: Tensor
    p5_out: Tensor
    lateral: Tensor
    p4_out: Tensor


class SpikingNeck(nn.Module):
    """Feature pyramid of two levels with a non-spiking 1x1 convolution at each end.

    Args:
        channels: channels of the backbone's first layer (the paper: 32).
        p5_outputs: channels of the coarse head.
        p4_outputs: channels of the fine head.
        neuron: the spiking neuron.
    """

    def __init__(
        self, channels: int, p5_outputs: int, p4_outputs: int, neuron: NeuronConfig
    ) -> None:
        super().__init__()
        self.deep = SpikingConv2d(16 * channels, 16 * channels, 3, neuron)
        self.p5 = SpikingConv2d(16 * channels, 8 * channels, 1, neuron)
        self.p5_out = SpikingConv2d(8 * channels, 16 * channels, 3, neuron)
        self.lateral = SpikingConv2d(8 * channels, 4 * channels, 1, neuron, upsample=2)
        self.p4_out = SpikingConv2d(12 * channels, 8 * channels, 3, neuron)
        self.head_p5 = nn.Conv2d(16 * channels, p5_outputs, 1)
        self.head_p4 = nn.Conv2d(8 * channels, p4_outputs, 1)

    def initial_state(
        self,
        batch: int,
        image_size: tuple[int, int],
        *,
        like: Tensor,
        generator: torch.Generator | None = None,
    ) -> NeckState:
        """States at rest, or random ones when a generator is given; dtype and device of `like`."""
        coarse = (image_size[0] // 32, image_size[1] // 32)
        fine = (image_size[0] // 16, image_size[1] // 16)
        return NeckState(
            **{
                name: getattr(self, name).initial_state(
                    batch, fine if name == "p4_out" else coarse, like=like, generator=generator
                )
                for name in NeckState._fields
            }
        )

    def forward(
        self, x: Tensor, route: Tensor, state: NeckState
    ) -> tuple[HeadMaps, NeckState, NeckSpikes]:
        """One read.

        Args:
            x: spikes of the backbone, [B, 16 channels, H/32, W/32].
            route: spikes of the backbone's last layer before pooling, [B, 8 channels, H/16, W/16].
            state: state after the read before.

        Returns:
            Raw head maps, the new state, and the spikes of every layer.
        """
        deep, state_deep = self.deep(x, state.deep)
        p5, state_p5 = self.p5(deep, state.p5)
        p5_out, state_p5_out = self.p5_out(p5, state.p5_out)
        lateral, state_lateral = self.lateral(p5, state.lateral)
        p4_out, state_p4_out = self.p4_out(torch.cat((lateral, route), dim=1), state.p4_out)
        return (
            HeadMaps(self.head_p5(p5_out), self.head_p4(p4_out)),
            NeckState(state_deep, state_p5, state_p5_out, state_lateral, state_p4_out),
            NeckSpikes(deep, p5, p5_out, lateral, p4_out),
        )
