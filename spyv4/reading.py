"""Looks at pictures, read by read: preprocess, step the network, decode where it is asked for.

A `Look` is what is under way: pictures as the network sees them, and the state after the reads so
far. `advance` gives one read to several looks in one step of the network, whichever read each is
at; `read_pictures` is all reads of one.
"""

import time
from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from spyv4.activity import Activity
from spyv4.config import MAX_READS, ModelConfig
from spyv4.energy import compare
from spyv4.errors import ArgumentError
from spyv4.heads.decode import RawDetections, decode
from spyv4.network.spyv4 import SPYv4State
from spyv4.network.table import LAYER_NAMES
from spyv4.options import ReadOptions
from spyv4.preprocess import Frame, Picture, boxes_to_picture, load_frame, stretch, to_images
from spyv4.runtime.base import Runtime, StepResult
from spyv4.types import Detections

EVERY_READ = range(1, MAX_READS + 1)


class Seen(NamedTuple):
    """Pictures as the network sees them.

    Attributes:
        pixels: uint8 RGB [B, height, width, 3], stretched to the network's size.
        sizes: (height, width) of every picture itself.
        preprocess_ms: how long that took.
    """

    pixels: Frame
    sizes: tuple[tuple[int, int], ...]
    preprocess_ms: float


def see(pictures: Sequence[Picture], image_size: tuple[int, int]) -> Seen:
    """Load pictures and stretch them; does without torch, so that any thread may do it.

    Args:
        pictures: at least one.
        image_size: (height, width) of the network's image.

    Raises:
        ArgumentError: if there are no pictures.
        ImageError: if a picture cannot be read.
    """
    clock = _Clock()
    if not pictures:
        raise ArgumentError("no pictures were given")
    frames = [load_frame(picture) for picture in pictures]
    pixels = stretch(frames, image_size)
    return Seen(pixels, tuple((frame.shape[0], frame.shape[1]) for frame in frames), clock.lap_ms())


class Look:
    """Pictures that are looked at together, and how far that is.

    Args:
        seen: the pictures.
        options: how to look.
        config: of the network.
        state: where to start; rest, or what `options` say, by default.

    Attributes:
        number: of the newest read, 0 before the first.
        activity: of the newest read, where it was asked for.
    """

    def __init__(
        self,
        seen: Seen,
        options: ReadOptions,
        config: ModelConfig,
        *,
        state: SPYv4State | None = None,
    ) -> None:
        self.options = options
        self.number = 0
        self.activity: Activity | None = None
        self._seen, self._config, self._state = seen, config, state
        self._prepared: Tensor | None = None
        self._maps: tuple[Tensor, ...] = ()
        self._network_ms = 0.0
        self._rates: list[NDArray[np.float64]] = []  # [2, B, layers] of every read so far

    @property
    def batch(self) -> int:
        """How many pictures."""
        return len(self._seen.sizes)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network's image."""
        return self._seen.pixels.shape[1], self._seen.pixels.shape[2]

    @property
    def state(self) -> SPYv4State | None:
        """For the next read."""
        return self._state

    def detections(self, options: ReadOptions | None = None) -> list[Detections]:
        """The boxes of every picture after the newest read, of which there must be one.

        Args:
            options: thresholds, and what activity to show, if other than those of the look.
        """
        options = options or self.options
        clock = _Clock()
        raw = self._on_pictures(decode(self._maps, self._config, options))
        took = {
            "preprocess": self._seen.preprocess_ms,
            "network": self._network_ms,
            "decode": clock.lap_ms(),
        }
        names = self._config.class_names
        return [
            Detections(
                *item, names, size, self.number, timings_ms=took, **self._report(index, options)
            )
            for index, (item, size) in enumerate(zip(raw, self._seen.sizes, strict=True))
        ]

    def _report(self, index: int, options: ReadOptions) -> dict[str, Any]:
        """The activity of a picture as `Detections` have it, as far as it was asked for."""
        if self.activity is None:
            return {}
        rasters, heat = self.activity.rasters[index] > 0, self.activity.heat[index].float()
        report: dict[str, Any] = {
            "rasters": {name: _layer(rasters, name) for name in options.raster_layers},
            "heat": {name: _layer(heat, name) for name in options.heat_layers},
        }
        if options.activity:
            rates = self._rates[-1][0, index].tolist()
            report["firing_rates"] = dict(zip(LAYER_NAMES, rates, strict=True))
            if len(self._rates) == self.number:
                firing, messages = np.stack(self._rates)[:, :, index].swapaxes(0, 1)
                taken = compare(self._config, self.image_size, firing, messages).network
                report["operations"] = {
                    "spikes": taken.spikes,
                    "synaptic_operations": taken.synaptic_operations,
                    "multiply_accumulates": taken.multiply_accumulates,
                    "energy_mj": taken.energy_mj,
                }
        return report

    def _on_pictures(self, raw: Sequence[RawDetections]) -> list[RawDetections]:
        """The boxes in pixels of the pictures instead of the network's image."""
        return [
            item._replace(boxes_xyxy=boxes_to_picture(item.boxes_xyxy, self.image_size, size))
            for item, size in zip(raw, self._seen.sizes, strict=True)
        ]

    def _begin(self, runtime: Runtime) -> tuple[Tensor, SPYv4State]:
        """What goes into the next read."""
        if self._prepared is None:
            self._prepared = runtime.prepare(to_images(self._seen.pixels))
        if self._state is None:
            self._state = runtime.initial_state(
                self.batch, self.image_size, seed=self.options.start_seed
            )
        return self._prepared, self._state

    def _take(self, result: StepResult, network_ms: float) -> None:
        """Note what came out of it."""
        self.number += 1
        self._maps, self._state, self.activity = result
        self._network_ms += network_ms
        if self.activity is not None:
            both = torch.stack((self.activity.firing_rates, self.activity.message_rates))
            self._rates.append(both.double().cpu().numpy())


def advance(runtime: Runtime, looks: Sequence[Look], *, activity: bool = False) -> list[StepResult]:
    """One read of every look, all of one image size, in one step of the network.

    Each comes to what it would come to alone.

    Args:
        runtime: runs the network.
        looks: at least one.
        activity: whether firing rates or rasters of this read are wanted.

    Returns:
        What came out for each.
    """
    clock = _Clock()
    begun = [look._begin(runtime) for look in looks]
    if len(looks) == 1:
        results = [runtime.step(*begun[0], activity=activity)]
    else:
        joined = tree_map(lambda *parts: torch.cat(parts), *begun)
        results = _split(runtime.step(*joined, activity=activity), looks)
    maps = results[0].maps
    if maps[0].is_cuda:
        torch.cuda.synchronize(maps[0].device)  # or decoding would wait, and pass for slow
    network_ms = clock.lap_ms()
    for look, result in zip(looks, results, strict=True):
        look._take(result, network_ms)
    return results


def _split(result: StepResult, looks: Sequence[Look]) -> list[StepResult]:
    """The part of every look in the result of a common step."""
    parts, first = [], 0
    for look in looks:
        part = slice(first, first + look.batch)
        parts.append(tree_map(lambda leaf, part=part: None if leaf is None else leaf[part], result))
        first += look.batch
    return parts


class Read(NamedTuple):
    """What is known after one read.

    Attributes:
        number: of the read, from 1.
        detections: of every picture; empty where none were asked for.
        activity: firing rates and rasters, where they were asked for.
        state: for the next read.
    """

    number: int
    detections: list[Detections]
    activity: Activity | None
    state: SPYv4State


def read_pictures(
    runtime: Runtime,
    image_size: tuple[int, int],
    pictures: Sequence[Picture],
    options: ReadOptions,
    *,
    at: Container[int] = EVERY_READ,
    activity_at: Container[int] | None = None,
    state: SPYv4State | None = None,
) -> Iterator[Read]:
    """Look at a batch of pictures, read by read.

    Args:
        runtime: runs the network.
        image_size: (height, width) that pictures are stretched to.
        pictures: at least one.
        options: how to look.
        at: the reads after which boxes are wanted; the others cost no decoding.
        activity_at: the reads whose activity is wanted, if it is; those in `at` by default.
        state: where to start; rest, or what `options` say, by default.

    Yields: what was seen, after every read.

    Raises:
        ArgumentError: if there are no pictures.
        ImageError: if a picture cannot be read.
    """
    look = Look(see(pictures, image_size), options, runtime.config, state=state)
    for number in range(1, (options.reads or runtime.config.reads) + 1):
        active = options.shows_activity and number in (at if activity_at is None else activity_at)
        (result,) = advance(runtime, [look], activity=active)
        found = look.detections() if number in at else []
        yield Read(number, found, result.activity, result.state)


def _layer(values: Tensor, name: str) -> NDArray[Any]:
    """What is of a layer."""
    return values[LAYER_NAMES.index(name)].cpu().numpy()


class _Clock:
    """Wall time since the last lap."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def lap_ms(self) -> float:
        """Milliseconds since the last call."""
        now = time.perf_counter()
        elapsed_ms, self._started = 1000 * (now - self._started), now
        return elapsed_ms
