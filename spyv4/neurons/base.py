"""What a neuron is: a module that turns current and state into spikes and state."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from spyv4.config import NeuronConfig
from spyv4.errors import StateShapeError
from spyv4.norm import NormedConv2d

RATE_KERNEL = 3
"""Side of the convolution that a rate is computed by, in pixels."""
Mixing = Literal["conv", "dense"]
State = Any
"""A neuron's own NamedTuple of tensors; mypy knows no narrower type for all of them."""


class Neuron(nn.Module, ABC):
    """The neurons of one layer; the state is a value that goes in and comes out.

    Args:
        size: channels of a convolutional layer, neurons of a dense one.
        config: threshold, fusion and surrogate.
        mixing: how neurons see their neighbours where they compute their rates.
    """

    state_type: ClassVar[type[Any]]
    start_range: tuple[float, float] = (0.0, 1.0)
    """What random potentials are drawn from, in the neuron's unit."""

    def __init__(self, size: int, config: NeuronConfig, mixing: Mixing) -> None:
        super().__init__()
        self.size, self.config = size, config
        # Per-channel values broadcast over the picture, per-neuron ones have no picture.
        self.value_shape = (size, 1, 1) if mixing == "conv" else (size,)

    def initial_state(
        self, shape: tuple[int, ...], *, like: Tensor, generator: torch.Generator | None = None
    ) -> State:
        """The state at rest, or with potentials uniform in `start_range` when a generator is given.

        Args:
            shape: [B, C, H, W] or [B, N].
            like: a tensor of the dtype and device that the state shall have.
            generator: source of randomness, on that device.
        """
        potential, *others = self.resting()
        u = torch.full(shape, potential, dtype=like.dtype, device=like.device)
        if generator is not None:
            u.uniform_(*self.start_range, generator=generator)
        if u.ndim == 4:
            u = u.to(memory_format=torch.channels_last)
        return self.state_type(u, *(torch.full_like(u, value) for value in others))

    def resting(self) -> tuple[float, ...]:
        """Value of every variable of the state at rest, in its own unit."""
        return (0.0,) * len(self.state_type._fields)

    def potential(self, state: State) -> Tensor:
        """What a read-out of potentials sees: 0 at rest and about 1 at a spike, dimensionless."""
        u: Tensor = state.u
        return u

    def forward(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        """One read.

        Args:
            current: input current c_t, [B, C, H, W] or [B, N].
            state: after the read before, from the same batch and size.

        Returns:
            Spikes in {0, 1} of the shape of `current`, and the new state.

        Raises:
            StateShapeError: if the state is of other neurons or another size.
        """
        if not isinstance(state, self.state_type):
            raise StateShapeError(
                f"these neurons need a state of type {self.state_type.__name__}, not "
                f"{type(state).__name__}; start from initial_state() of the same network"
            )
        if state and state[0].shape != current.shape:
            raise StateShapeError(
                f"state of shape {tuple(state[0].shape)} does not fit an input current of shape "
                f"{tuple(current.shape)}; start from initial_state() of the same batch and size"
            )
        return self.read(current, state)

    @abstractmethod
    def read(self, current: Tensor, state: State) -> tuple[Tensor, State]:
        """The equation: `forward` without its checks."""


class Rate(nn.Module):
    """A rate in (0, 1) for every neuron from its current and one of its own variables.

        sigmoid(mix(c_t + v_{t-1}))       fusion "sum": the released detector
        sigmoid(mix([c_t, v_{t-1}]))      fusion "concat": as the paper writes it

    `mix` is a 3x3 convolution with batch norm, or a dense layer (paper, Methods: Conv, Dense).
    """

    def __init__(self, size: int, config: NeuronConfig, mixing: Mixing) -> None:
        super().__init__()
        self.concat = config.fusion == "concat"
        fused = 2 * size if self.concat else size
        if mixing == "conv":
            self.mix: nn.Module = NormedConv2d(fused, size, RATE_KERNEL, bias=config.rate_bias)
        else:
            self.mix = nn.Linear(fused, size)
            nn.init.constant_(self.mix.bias, config.rate_bias)

    def mixed(self, current: Tensor, variable: Tensor) -> Tensor:
        """What the rate is the sigmoid of, of the shape of `current`."""
        fused = torch.cat((current, variable), dim=1) if self.concat else current + variable
        mixed: Tensor = self.mix(fused)
        return mixed

    def forward(self, current: Tensor, variable: Tensor) -> Tensor:
        """The rate, of the shape of `current`."""
        return torch.sigmoid(self.mixed(current, variable))
