"""The unit of a twin that is on its way to spikes: values of a few levels."""

from typing import cast

import torch
from torch import Tensor, nn

from spyv4.config import NeuronConfig
from spyv4.neurons.base import Mixing
from spyv4.neurons.leaky_relu import NoState, Stateless
from spyv4.neurons.surrogate import spike


class QuantisedReLU(Stateless):
    """No neuron: its message is one of k + 1 levels, the same at every read.

        y = sum over j = 1..k of step_j [gain_j c_t > theta]

    That is what k spikes say together (`NeuronConfig.steps`), with the surrogate gradient of each,
    at the price of one value: a network of it is trained several times as fast as the spiking one,
    k times as wide, that then starts from it and answers alike (`training.warm_start`). Gains
    and steps are learned for every channel; they are positive, and kept as logarithms, by j and
    then channel.
    """

    def __init__(self, size: int, config: NeuronConfig, mixing: Mixing) -> None:
        super().__init__(size, config, mixing)
        self.log_gain = nn.Parameter(torch.zeros(config.steps * size))
        self.log_step = nn.Parameter(torch.zeros(config.steps * size))

    def read(self, current: Tensor, state: NoState) -> tuple[Tensor, NoState]:
        """One read."""
        shape = (self.config.steps, *self.value_shape)
        gains, steps = (
            value.exp().to(current.dtype).view(shape) for value in (self.log_gain, self.log_step)
        )
        said = [
            step * spike(gain * current, self.config.threshold, self.config)
            for gain, step in zip(gains, steps, strict=True)
        ]
        return cast("Tensor", sum(said)), state
