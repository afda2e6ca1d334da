"""The spiking backbone: layers 1 to 14 (reference section 1)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spyv4.config import NeuronConfig
from spyv4.layers.conv import NeuronState, SpikingConv2d
from spyv4.layers.csp import CSPSpikes, CSPState, SpikingCSPBlock


class BackboneState(NamedTuple):
    """States of the backbone's layers."""

    stem1: NeuronState
    stem2: NeuronState
    csp1: CSPState
    csp2: CSPState
    csp3: CSPState


class BackboneSpikes(NamedTuple):
    """Spikes of the backbone's layers."""

    stem1: Tensor
    stem2: Tensor
    csp1: CSPSpikes
    csp2: CSPSpikes
    csp3: CSPSpikes


class SpikingBackbone(nn.Module):
    """Two strided spiking convolutions and three CSP blocks.

    Args:
        channels: channels of `stem1`; every later layer has a multiple of it (the paper: 32).
        neuron: the spiking neuron.
    """

    def __init__(self, channels: int, neuron: NeuronConfig) -> None:
        super().__init__()
        self.stem1 = SpikingConv2d(3, channels, 3, neuron, stride=2)
        self.stem2 = SpikingConv2d(channels, 2 * channels, 3, neuron, stride=2)
        self.csp1 = SpikingCSPBlock(2 * channels, neuron)
        self.csp2 = SpikingCSPBlock(4 * channels, neuron)
        self.csp3 = SpikingCSPBlock(8 * channels, neuron)

    def initial_state(
        self,
        batch: int,
        image_size: tuple[int, int],
        *,
        like: Tensor,
        generator: torch.Generator | None = None,
    ) -> BackboneState:
        """States at rest, or random ones when a generator is given; dtype and device of `like`."""
        height, width = image_size
        sizes = {
            "stem1": (height, width),
            "stem2": (height // 2, width // 2),
            "csp1": (height // 4, width // 4),
            "csp2": (height // 8, width // 8),
            "csp3": (height // 16, width // 16),
        }
        return BackboneState(
            **{
                name: getattr(self, name).initial_state(batch, size, like=like, generator=generator)
                for name, size in sizes.items()
            }
        )

    def forward(
        self, current: Tensor, state: BackboneState
    ) -> tuple[Tensor, BackboneState, BackboneSpikes]:
        """One read.

        Args:
            current: input current of `stem1`, [B, C, H/2, W/2].
            state: state after the read before.

        Returns:
            Spikes for the coarse head [B, 16 channels, H/32, W/32], the new state, and the
            spikes of every layer (`csp3.d` is the route of the fine head).
        """
        stem1, state1 = self.stem1.neurons(current, state.stem1)
        stem2, state2 = self.stem2(stem1, state.stem2)
        x, state3, csp1 = self.csp1(stem2, state.csp1)
        x, state4, csp2 = self.csp2(x, state.csp2)
        x, state5, csp3 = self.csp3(x, state.csp3)
        return (
            x,
            BackboneState(state1, state2, state3, state4, state5),
            BackboneSpikes(stem1, stem2, csp1, csp2, csp3),
        )
