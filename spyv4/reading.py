"""All reads of a batch of pictures: preprocess, then read, and decode where it is asked for."""

import time
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spyv4.activity import Activity
from spyv4.config import MAX_READS
from spyv4.errors import ArgumentError
from spyv4.heads.decode import RawDetections, decode
from spyv4.network.spyv4 import SPYv4State
from spyv4.network.table import LAYER_NAMES
from spyv4.options import ReadOptions
from spyv4.preprocess import Frame, Picture, boxes_to_picture, load_frame, to_images
from spyv4.runtime.base import Runtime
from spyv4.types import Detections

EVERY_READ = range(1, MAX_READS + 1)


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
    clock = _Clock()
    frames, images = _load(pictures, image_size)
    preprocess_ms = clock.lap_ms()
    state = state or runtime.initial_state(len(frames), image_size, seed=options.start_seed)
    prepared = runtime.prepare(images)
    network_ms = clock.lap_ms()
    for number in range(1, (options.reads or runtime.config.reads) + 1):
        clock.lap_ms()  # what the caller did with the read before is not ours
        active = options.shows_activity and number in (at if activity_at is None else activity_at)
        maps, state, activity = runtime.step(prepared, state, activity=active)
        if number in at and maps[0].is_cuda:
            torch.cuda.synchronize(maps[0].device)  # or decoding would wait, and pass for slow
        network_ms += clock.lap_ms()
        found: list[Detections] = []
        if number in at:
            raw = _on_pictures(decode(maps, runtime.config, options), frames, image_size)
            took = {"preprocess": preprocess_ms, "network": network_ms, "decode": clock.lap_ms()}
            reports = _reports(activity, options, len(raw))
            found = [
                Detections(*item, runtime.config.class_names, _size(frame), number, *report, took)
                for item, frame, report in zip(raw, frames, reports, strict=True)
            ]
        yield Read(number, found, activity, state)


def _load(
    pictures: Sequence[Picture], image_size: tuple[int, int]
) -> tuple[list[Frame], torch.Tensor]:
    """The pictures as frames, of which there must be some, and as the network sees them."""
    if not pictures:
        raise ArgumentError("no pictures were given")
    frames = [load_frame(picture) for picture in pictures]
    return frames, to_images(frames, image_size)


def _size(frame: Frame) -> tuple[int, int]:
    """(height, width)."""
    return frame.shape[0], frame.shape[1]


def _on_pictures(
    raw: Sequence[RawDetections], frames: Sequence[Frame], image_size: tuple[int, int]
) -> list[RawDetections]:
    """The boxes in pixels of the pictures instead of the network's image."""
    return [
        item._replace(boxes_xyxy=boxes_to_picture(item.boxes_xyxy, image_size, _size(frame)))
        for item, frame in zip(raw, frames, strict=True)
    ]


class _Report(NamedTuple):
    """The activity of one picture, as `Detections` have it."""

    firing_rates: dict[str, float]
    rasters: dict[str, NDArray[np.bool_]]


def _reports(activity: Activity | None, options: ReadOptions, batch: int) -> list[_Report]:
    """The activity of every picture, as far as it was asked for."""
    if activity is None:
        return [_Report({}, {})] * batch
    rates = activity.firing_rates.float().cpu().numpy()
    rasters = activity.rasters.cpu().numpy() > 0
    return [
        _Report(
            dict(zip(LAYER_NAMES, rates[index].tolist(), strict=True)) if options.activity else {},
            {name: rasters[index, LAYER_NAMES.index(name)] for name in options.raster_layers},
        )
        for index in range(batch)
    ]


class _Clock:
    """Wall time since the last lap."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def lap_ms(self) -> float:
        """Milliseconds since the last call."""
        now = time.perf_counter()
        elapsed_ms, self._started = 1000 * (now - self._started), now
        return elapsed_ms
