"""Layers: they route current into neurons and spikes out, whichever neurons these are."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spyv4.config import NeuronConfig
from spyv4.neurons import build_neuron
from spyv4.norm import NormedConv2d


class SpikingConv2d(nn.Module):
    """A convolution whose output drives a layer of neurons.

        c_t = upsample(BN(conv(dropout(x_t))))

    Args:
        in_channels: of the input.
        out_channels: one neuron a channel and place.
        kernel: side in pixels, odd.
        neuron: what the current drives.
        stride: in pixels.
        upsample: how often every current is repeated along each side.
        dropout: share of the input channels that is left out while training, 0..1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        neuron: NeuronConfig,
        *,
        stride: int = 1,
        upsample: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.upsample, self.dropout = upsample, dropout
        self.synapse = NormedConv2d(
            in_channels, out_channels, kernel, stride=stride, bias=neuron.current_bias
        )
        self.neuron = build_neuron(out_channels, neuron, "conv")

    def current(self, x: Tensor) -> Tensor:
        """Input current c_t, [B, C, H, W], for an input [B, C_in, H_in, W_in]."""
        if self.dropout > 0 and self.training:
            x = functional.dropout2d(x, self.dropout)
        current: Tensor = self.synapse(x)
        if self.upsample > 1:
            current = functional.interpolate(
                current, scale_factor=float(self.upsample), mode="nearest"
            )
        return current

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Spikes in {0, 1}, [B, C, H, W], and the new state."""
        spikes, after = self.neuron(self.current(x), state)
        return spikes, after


class DenseState(NamedTuple):
    """State of a dense recurrent layer.

    Attributes:
        neuron: the neurons' own.
        spikes: of the last step, [B, N].
    """

    neuron: Any
    spikes: Tensor


class SpikingDense(nn.Module):
    """A dense layer that also hears its own last spikes, where it is recurrent (reference 3b).

        c_t = W [x_t, s_{t-1}] + bias       recurrent
        c_t = W x_t + bias                  not

    Args:
        inputs: values a step.
        size: neurons.
        neuron: what the current drives.
        recurrent: whether it hears itself.
    """

    def __init__(
        self, inputs: int, size: int, neuron: NeuronConfig, *, recurrent: bool = True
    ) -> None:
        super().__init__()
        self.size, self.recurrent = size, recurrent
        self.synapse = nn.Linear(inputs + size if recurrent else inputs, size)
        self.neuron = build_neuron(size, neuron, "dense")

    def initial_state(self, batch: int) -> DenseState:
        """Rest."""
        weight = self.synapse.weight
        shape = (batch, self.size)
        return DenseState(self.neuron.initial_state(shape, like=weight), weight.new_zeros(shape))

    def forward(self, x: Tensor, state: DenseState) -> tuple[Tensor, DenseState]:
        """Spikes in {0, 1}, [B, size], for an input [B, inputs], and the new state."""
        heard = torch.cat((x, state.spikes), dim=1) if self.recurrent else x
        spikes, after = self.neuron(self.synapse(heard), state.neuron)
        return spikes, DenseState(after, spikes)

    def potential(self, state: DenseState) -> Tensor:
        """What a read-out of potentials sees, [B, size] (see `Neuron.potential`)."""
        return self.neuron.potential(state.neuron)
