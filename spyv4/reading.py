"""Looks at pictures, read by read: preprocess, step the network, decode where it is asked for.

A `Look` is what is under way: pictures as the network sees them, and the state after the reads so
far. `advance` gives one read to several looks in one step of the network, whichever read each is
at; `spyv4.rounds` makes all reads.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from spyv4.activity import Activity
from spyv4.anytime import stops
from spyv4.config import ModelConfig
from spyv4.energy import compare
from spyv4.errors import ArgumentError
from spyv4.heads.decode import RawDetections, decode
from spyv4.network.spyv4 import SPYv4State
from spyv4.network.table import LAYER_NAMES
from spyv4.options import ReadOptions, Thresholds
from spyv4.preprocess import Frame, Picture, boxes_to_picture, load_frame, stretch, to_images
from spyv4.runtime.base import Runtime, StepResult
from spyv4.types import Detections


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
        self._found: dict[Thresholds, tuple[list[RawDetections], float]] = {}  # of the newest read
        self._before: list[RawDetections] | None = None  # of the read before, for `auto`
        self._network_ms = self._agreeing_ms = 0.0
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

    @property
    def most(self) -> int:
        """How many reads there are, at most where they are `auto`."""
        return self.options.most_reads(self._config)

    @property
    def finished(self) -> bool:
        """Whether no read is left, or every picture stops here by the rule of `spyv4.anytime`."""
        if self.number >= self.most or self._before is None:
            return self.number >= self.most
        now, _ = self._boxes(self.options)
        pairs = zip(self._before, now, strict=True)
        rule = self.options.resolved(self._config)
        return all(stops(self.number, *pair, rule) for pair in pairs)

    def detections(self, options: ReadOptions | None = None) -> list[Detections]:
        """The boxes of every picture after the newest read, of which there must be one.

        Args:
            options: thresholds, and what activity to show, if other than those of the look.
        """
        options = options or self.options
        raw, decode_ms = self._boxes(options)
        took = {
            "preprocess": self._seen.preprocess_ms,
            "network": self._network_ms,
            "decode": self._agreeing_ms + decode_ms,
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

    def _boxes(self, options: ReadOptions) -> tuple[list[RawDetections], float]:
        """The boxes of the newest read in pixels of the pictures, and how long they took (ms)."""
        key = options.thresholds
        if key not in self._found:
            clock = _Clock()
            raw = decode(self._maps, self._config, options)
            on_pictures = [
                item._replace(boxes_xyxy=boxes_to_picture(item.boxes_xyxy, self.image_size, size))
                for item, size in zip(raw, self._seen.sizes, strict=True)
            ]
            self._found[key] = on_pictures, clock.lap_ms()
        return self._found[key]

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
        if self.options.is_auto and self.number:
            self._before, decode_ms = self._boxes(self.options)
            self._agreeing_ms += decode_ms
        self._found.clear()
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
