"""Recording: a picture is looked at as ever, and all spikes of all reads are kept."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spyv4.activity import summarise
from spyv4.config import ModelConfig
from spyv4.errors import ArgumentError, RuntimeUnavailableError
from spyv4.network.spyv4 import Spikes, SPYv4State
from spyv4.options import ReadOptions
from spyv4.preprocess import Picture
from spyv4.reading import Look, advance, see
from spyv4.runtime.base import Runtime, StepResult
from spyv4.runtime.torch_runtime import TorchRuntime
from spyv4.spikes import PotentialType, SpikeRecord
from spyv4.types import Detections


class _Tap:
    """A torch runtime that hands out the spikes of its newest read."""

    def __init__(self, runtime: TorchRuntime) -> None:
        self._runtime = runtime
        self.spikes: Spikes = {}

    @property
    def config(self) -> ModelConfig:
        return self._runtime.config

    @property
    def description(self) -> str:
        return self._runtime.description

    def initial_state(
        self, batch: int, image_size: tuple[int, int], *, seed: int | None = None
    ) -> SPYv4State:
        return self._runtime.initial_state(batch, image_size, seed=seed)

    def prepare(self, images: Tensor) -> Tensor:
        return self._runtime.prepare(images)

    @torch.inference_mode()
    def step(self, prepared: Tensor, state: SPYv4State, *, activity: bool = False) -> StepResult:
        model = self._runtime.model
        maps, after, self.spikes = model.step_from_current(prepared, state)
        return StepResult(maps, after, summarise(self.spikes) if activity else None)


@dataclass(frozen=True)
class Recorder:
    """Looks at pictures, one by one, and keeps all their spikes.

    Attributes:
        runtime: runs the network; the torch runtime, which does without its compiled step here.
        image_size: (height, width) that pictures are stretched to.
        options: how to look.
        potentials: type of the membrane potentials to keep, None for none.

    Raises:
        ArgumentError: if `potentials` is no such type, or the network does not spike.
        RuntimeUnavailableError: if the runtime does not show its spikes.
    """

    runtime: Runtime
    image_size: tuple[int, int]
    options: ReadOptions
    potentials: PotentialType | None = None

    def __post_init__(self) -> None:
        if self.potentials not in (None, *get_args(PotentialType)):
            raise ArgumentError(
                f"potentials must be {' or '.join(get_args(PotentialType))}, or None for none, "
                f"not {self.potentials!r}"
            )
        self._tap()

    def stream(self, frames: Iterable[Picture]) -> Iterator[SpikeRecord]:
        """The record of every picture or frame; from the state before where it is carried.

        Raises:
            ArgumentError: if a potential is too large for float16.
            ImageError: if a picture cannot be read.
        """
        tap = self._tap()
        state: SPYv4State | None = None
        for frame in frames:
            look = Look(see([frame], self.image_size), self.options, tap.config, state=state)
            yield self._record(tap, look)
            state = look.state if self.options.carry_state else None

    def _tap(self) -> _Tap:
        if not isinstance(self.runtime, TorchRuntime):
            raise RuntimeUnavailableError(
                f"spikes are shown by the torch runtime alone, not by {self.runtime.description}; "
                "load .safetensors weights with --runtime torch"
            )
        if not self.runtime.config.neuron.spikes:
            raise ArgumentError("the twin (neuron leaky-relu) has no spikes to record")
        return _Tap(self.runtime.eager())

    def _record(self, tap: _Tap, look: Look) -> SpikeRecord:
        """Make all reads of one picture."""
        packed: dict[str, list[NDArray[np.uint8]]] = {}
        potentials: dict[str, list[NDArray[np.floating]]] = {}
        detections: list[Detections] = []
        while not look.finished:
            (result,) = advance(tap, [look], activity=self.options.shows_activity)
            detections += look.detections()
            for name, spikes in tap.spikes.items():
                packed.setdefault(name, []).append(_packed(spikes))
                if self.potentials is not None:
                    u = _converted(result.state.layers[name].u, self.potentials, name)
                    potentials.setdefault(name, []).append(u)
        return SpikeRecord(
            {name: np.stack(reads) for name, reads in packed.items()},
            {name: (*spikes.shape[1:],) for name, spikes in tap.spikes.items()},
            {name: np.concatenate(reads) for name, reads in potentials.items()},
            tuple(detections),
            look.image_size,
            tap.config,
            tap.description,
        )


def _packed(spikes: Tensor) -> NDArray[np.uint8]:
    """The spikes of one read of one picture, [1, C, H, W], as bits."""
    return np.packbits((spikes > 0).cpu().contiguous().numpy())


def _converted(u: Tensor, kind: PotentialType, layer: str) -> NDArray[np.floating]:
    """Potentials [1, C, H, W] as numbers of that type."""
    kept = u.to(torch.float16 if kind == "float16" else torch.float32).cpu().contiguous()
    if not kept.isfinite().all():
        raise ArgumentError(
            f"potentials of {layer} reach {u.float().abs().max():g}, more than float16 can hold; "
            "ask for float32"
        )
    return kept.numpy()
