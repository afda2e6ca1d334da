"""All reads of a batch of pictures: preprocess, then read and decode, one read after the other."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from spyv4.activity import Activity
from spyv4.config import check_reads
from spyv4.errors import ArgumentError
from spyv4.models.spyv4 import LAYER_NAMES, SPYv4State
from spyv4.ops.decode import RawDetections, decode
from spyv4.preprocess import Frame, Picture, boxes_to_picture, load_frame, to_images
from spyv4.runtime.base import Runtime, StepResult
from spyv4.types import Detections


class DetectOptions(TypedDict, total=False):
    """Keyword options that all ways of detecting share.

    Attributes:
        score_threshold: least score, 0..1; that of the weights when left out or None.
        iou_threshold: boxes of a class that overlap more are one object, 0..1; 0.3.
        max_detections: most boxes a picture; 100.
        activity: report the firing rates of all layers; off.
        raster_layers: layers whose sampled spikes to report, from `Detector.layer_names`; none.
    """

    score_threshold: float | None
    iou_threshold: float
    max_detections: int
    activity: bool
    raster_layers: Sequence[str]


@dataclass(frozen=True)
class Options:
    """`DetectOptions` with its defaults, checked; no score threshold is that of the weights."""

    score_threshold: float | None = None
    iou_threshold: float = 0.3
    max_detections: int = 100
    activity: bool = False
    raster_layers: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ArgumentError(f"{name} must be in 0..1, not {value}")
        if self.max_detections < 1:
            raise ArgumentError(f"max_detections must be at least 1, not {self.max_detections}")
        unknown = [name for name in self.raster_layers if name not in LAYER_NAMES]
        if unknown:
            raise ArgumentError(
                f"unknown layer {unknown[0]!r}; choose from: {', '.join(LAYER_NAMES)}"
            )


class Look:
    """All reads of one batch of pictures.

    Args:
        runtime: runs the network.
        image_size: (height, width) that pictures are stretched to.
        images: the pictures, at least one.
        reads: how often to look; the network's own number by default.
        options: thresholds and what to report.
        state: where to start; rest by default.

    Raises:
        ArgumentError: if there are no pictures.
        ConfigError: if `reads` is out of range.
        ImageError: if a picture cannot be read.
    """

    def __init__(
        self,
        runtime: Runtime,
        image_size: tuple[int, int],
        images: Sequence[Picture],
        reads: int | None,
        options: Options,
        state: SPYv4State | None = None,
    ) -> None:
        if not images:
            raise ArgumentError("no pictures were given")
        self.runtime = runtime
        self.image_size = image_size
        self.reads = runtime.config.reads if reads is None else reads
        check_reads(self.reads)
        self.options = options
        started = time.perf_counter()
        frames: list[Frame] = [load_frame(image) for image in images]
        self.picture_sizes = [(frame.shape[0], frame.shape[1]) for frame in frames]
        tensor = to_images(frames, image_size)
        self.preprocess_ms = _since(started)
        self.state = state or runtime.initial_state(len(frames), image_size)
        self.prepared = runtime.prepare(tensor)
        self.network_ms = _since(started) - self.preprocess_ms

    def results(self, *, last_only: bool = False) -> Iterator[list[Detections]]:
        """Detections after every read, or after the last one alone."""
        wants_activity = self.options.activity or bool(self.options.raster_layers)
        for read in range(1, self.reads + 1):
            last = read == self.reads
            started = time.perf_counter()
            result = self.runtime.step(
                self.prepared, self.state, activity=wants_activity and (last or not last_only)
            )
            self.state = result.state
            reported = last or not last_only
            if reported and result.maps.p5.is_cuda:
                # Decoding would wait for the network, and pass for slow.
                torch.cuda.synchronize(result.maps.p5.device)
            self.network_ms += _since(started)
            if reported:
                yield self._decode(result, read)

    def _decode(self, result: StepResult, read: int) -> list[Detections]:
        options, config = self.options, self.runtime.config
        threshold = options.score_threshold
        started = time.perf_counter()
        raw = decode(
            result.maps,
            config,
            score_threshold=config.score_threshold if threshold is None else threshold,
            iou_threshold=options.iou_threshold,
            max_detections=options.max_detections,
        )
        timings = {
            "preprocess": self.preprocess_ms,
            "network": self.network_ms,
            "decode": _since(started),
        }
        rates, rasters = _activity_arrays(result.activity)
        return [
            self._detections(index, item, read, timings, rates, rasters)
            for index, item in enumerate(raw)
        ]

    def _detections(
        self,
        index: int,
        raw: RawDetections,
        read: int,
        timings: dict[str, float],
        rates: NDArray[np.float32] | None,
        rasters: NDArray[np.bool_] | None,
    ) -> Detections:
        size = self.picture_sizes[index]
        options = self.options
        firing_rates = {}
        if options.activity and rates is not None:
            firing_rates = dict(zip(LAYER_NAMES, rates[index].tolist(), strict=True))
        spikes = {}
        if rasters is not None:
            spikes = {
                name: rasters[index, LAYER_NAMES.index(name)] for name in options.raster_layers
            }
        return Detections(
            boxes_xyxy=boxes_to_picture(raw.boxes_xyxy, self.image_size, size),
            scores=raw.scores,
            labels=raw.labels,
            class_names=self.runtime.config.class_names,
            image_size=size,
            reads=read,
            firing_rates=firing_rates,
            rasters=spikes,
            timings_ms=timings,
        )


def _activity_arrays(
    activity: Activity | None,
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
    """Firing rates [B, layers] and rasters [B, layers, n] as arrays."""
    if activity is None:
        return None, None
    return activity.firing_rates.float().cpu().numpy(), activity.rasters.cpu().numpy() > 0


def _since(started: float) -> float:
    """Milliseconds since `started`."""
    return (time.perf_counter() - started) * 1000
