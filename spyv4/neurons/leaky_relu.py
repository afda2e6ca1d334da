"""The unit of the non-spiking twin: the same network, with values in place of spikes."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from spyv4.neurons.base import Neuron

SLOPE = 0.1
"""For negative currents, as in Tiny-YOLOv4."""


class NoState(NamedTuple):
    """Nothing is remembered from one read to the next."""


class Stateless(Neuron):
    """What only stands where a neuron does, in a twin."""

    state_type = NoState

    def initial_state(
        self, shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None
    ) -> NoState:
        """Nothing."""
        del shape, like, generator
        return NoState()


class LeakyReLU(Stateless):
    """No neuron: its message is max(c_t, 0.1 c_t), the same at every read.

    The twin shows what spiking costs: its layers are those of the spiking network, whose weights
    may start from it (`training.warm_start`).
    """

    def read(self, current: Tensor, state: NoState) -> tuple[Tensor, NoState]:
        """One read."""
        return functional.leaky_relu(current, SLOPE), state
