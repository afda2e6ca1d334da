"""What every way of running the network offers."""

from typing import NamedTuple, Protocol

from torch import Tensor

from spyv4.activity import Activity
from spyv4.config import ModelConfig
from spyv4.errors import StateShapeError
from spyv4.network.readout import Maps
from spyv4.network.spyv4 import SPYv4State


class StepResult(NamedTuple):
    """One read.

    Attributes:
        maps: raw head maps, one a level.
        state: for the next read.
        activity: rates and rasters, where they were asked for.
    """

    maps: Maps
    state: SPYv4State
    activity: Activity | None


class Step(Protocol):
    """One read of one network in one precision, built for that; for any batch."""

    def step(self, prepared: Tensor, state: SPYv4State, *, activity: bool = False) -> StepResult:
        """One read of prepared images [B, ...].

        Raises:
            StateShapeError: if the state is not of this network, batch and size.
        """


def wrong_state(given: str) -> StateShapeError:
    """What a `Step` raises that was given another state than it is built for."""
    return StateShapeError(
        f"the compiled step was given a state of {given}; start from initial_state() of the same "
        "network"
    )


class Runtime(Protocol):
    """Runs the one-read step of a network."""

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""

    @property
    def description(self) -> str:
        """How and where the network runs, for people."""

    def initial_state(
        self, batch: int, image_size: tuple[int, int], *, seed: int | None = None
    ) -> SPYv4State:
        """The state before the first read: rest, or random potentials drawn with `seed`."""

    def prepare(self, images: Tensor) -> Tensor:
        """What stays the same at every read of `images`, RGB [B, 3, H, W] in 0..1."""

    def step(self, prepared: Tensor, state: SPYv4State, *, activity: bool = False) -> StepResult:
        """One read of prepared images."""
