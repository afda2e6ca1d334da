"""Ending a look between two reads."""

from collections.abc import Callable

from torch import Tensor

from detector_app.errors import AbandonedError
from spyv4 import Detector
from spyv4.config import ModelConfig
from spyv4.models.spyv4 import SPYv4State
from spyv4.runtime.base import Runtime, StepResult


def interruptible(detector: Detector, abandoned: Callable[[], bool]) -> Detector:
    """The same detector, which raises `AbandonedError` before a read once `abandoned()` holds."""
    return Detector(_Interruptible(detector.runtime, abandoned), image_size=detector.image_size)


class _Interruptible:
    """A runtime that asks before every read."""

    def __init__(self, runtime: Runtime, abandoned: Callable[[], bool]) -> None:
        self._runtime, self._abandoned = runtime, abandoned

    @property
    def config(self) -> ModelConfig:
        return self._runtime.config

    @property
    def description(self) -> str:
        return self._runtime.description

    def initial_state(self, batch: int, image_size: tuple[int, int]) -> SPYv4State:
        return self._runtime.initial_state(batch, image_size)

    def prepare(self, images: Tensor) -> Tensor:
        return self._runtime.prepare(images)

    def step(self, prepared: Tensor, state: SPYv4State, *, activity: bool = False) -> StepResult:
        if self._abandoned():
            raise AbandonedError("nobody waits for this picture any more")
        return self._runtime.step(prepared, state, activity=activity)
