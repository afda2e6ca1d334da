"""Figure 3c: spikes of a shallow and a deep layer while a clip turns irrelevant."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from spyv4 import Detector
from spyv4.network.table import LAYER_NAMES
from spyv4.recording import Recorder
from training.tasks.figures.drawing import Files, colour, drawing, files_of, plain, write_data
from training.tasks.figures.scenes import Image, empty_scene, read_frames

SHALLOW, DEEP = "stem1", "p5_out"
NEURONS = 100
"""Of each layer in the raster, drawn at random."""
EXAMPLES = 3
"""Frames of either half that are shown."""
HALVES = "relevant", "irrelevant"


@dataclass(frozen=True)
class Scenes:
    """What is looked at.

    Attributes:
        clip: file of the first half.
        other: file of the second half; None for the clip's own empty scene, which stands still.
        frames: of each half, at most.
        seed: that neurons are drawn with.
    """

    clip: Path
    other: Path | None = None
    frames: int = 150
    seed: int = 0

    def halves(self) -> tuple[Iterable[Image], Iterable[Image]]:
        """The frames of both halves, the second as long as the first."""
        first = list(read_frames(self.clip, self.frames))
        if self.other is None:
            return first, repeat(empty_scene(self.clip), len(first))
        return first, read_frames(self.other, len(first))


class Seen(NamedTuple):
    """What the network did.

    Attributes:
        rates: share of neurons that spiked, [frames, layers].
        spikes: of the chosen neurons by layer, bool [frames, NEURONS].
        boxes: how many things were found in every frame.
        turn: the first frame of the second half.
        examples: frames that were shown.
    """

    rates: NDArray[np.float64]
    spikes: dict[str, NDArray[np.bool_]]
    boxes: list[int]
    turn: int
    examples: list[Image]


def draw_3c(folder: Path, scenes: Scenes, detector: Detector) -> Files:
    """Look at both halves, draw the figure and write its data.

    Args:
        folder: for figure-3c-CLIP.png and .json.
        scenes: what to look at.
        detector: on the torch runtime.

    Raises:
        ArgumentError: if a clip cannot be read.
        OSError: if the files cannot be written.
    """
    files = files_of(folder, f"figure-3c-{scenes.clip.stem}")
    seen = watch(detector, scenes)
    with drawing(files.picture, (9, 6.6)) as figure:
        _draw(figure, seen)
    write_data(files.data, _data(detector, scenes, seen))
    return files


def watch(detector: Detector, scenes: Scenes) -> Seen:
    """One read a frame, each from the state that the frame before left, as the paper does."""
    options = detector.options(reads=1, carry_state=True)
    recorder = Recorder(detector.runtime, detector.image_size, options)
    chosen = np.random.default_rng(scenes.seed)
    picked: dict[str, NDArray[np.int64]] = {}
    rates: list[list[float]] = []
    spikes: dict[str, list[NDArray[np.bool_]]] = {SHALLOW: [], DEEP: []}
    boxes: list[int] = []
    lengths, examples = [0, 0], list[Image]()

    def frames() -> Iterator[Image]:
        for half, images in enumerate(scenes.halves()):
            for image in images:
                if lengths[half] % -(-scenes.frames // EXAMPLES) == 0:
                    examples.append(_small(image))
                lengths[half] += 1
                yield image

    for record in tqdm(recorder.stream(frames()), unit="frame", disable=None):
        rates.append([float(record[name].mean()) for name in record])
        for name, kept in spikes.items():
            layer = record[name].ravel()
            if name not in picked:
                picked[name] = chosen.choice(layer.size, min(NEURONS, layer.size), replace=False)
            kept.append(layer[picked[name]] > 0)
        boxes.append(len(record.detections[-1]))
    stacked = {name: np.stack(kept) for name, kept in spikes.items()}
    return Seen(np.array(rates), stacked, boxes, lengths[0], examples)


def _small(image: Image) -> Image:
    """A thumbnail, RGB."""
    small = cv2.resize(image, (200, 200 * image.shape[0] // image.shape[1]))
    return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def _draw(figure: Figure, seen: Seen) -> None:
    pictures, charts = cast("Any", figure.subfigures(2, 1, height_ratios=[1, 4]))
    for ax, image in zip(pictures.subplots(1, len(seen.examples)), seen.examples, strict=True):
        ax.imshow(image)
        ax.axis("off")
    shallow, deep, rates = charts.subplots(3, 1, sharex=True, height_ratios=[2, 2, 1.3])
    for index, (ax, name) in enumerate(((shallow, SHALLOW), (deep, DEEP))):
        frame, neuron = seen.spikes[name].nonzero()
        ax.scatter(frame, neuron, s=3, marker="|", color=colour(index), linewidth=0.7)
        ax.set(ylabel=f"neuron of {name}", ylim=(-1, NEURONS))
        share = 100 * seen.rates[:, LAYER_NAMES.index(name)]
        plain(rates).plot(share, color=colour(index), linewidth=1.2, label=name)
    for ax in (shallow, deep, rates):
        ax.axvline(seen.turn - 0.5, color="#1d2730", linewidth=0.8, linestyle="--")
    rates.set(ylabel="spiking, %", xlabel="frame (one read each)", ylim=(0, None))
    rates.legend(frameon=False, fontsize=8, loc="lower right", ncols=2)


def _data(detector: Detector, scenes: Scenes, seen: Seen) -> dict[str, Any]:
    """What is seen in the figure, and the rates of all layers in either half."""
    parts = {HALVES[0]: slice(None, seen.turn), HALVES[1]: slice(seen.turn, None)}
    means = {half: seen.rates[part].mean(0) for half, part in parts.items()}
    layers = {
        name: {
            **{half: round(float(means[half][index]), 5) for half in HALVES},
            "ratio": _ratio(means[HALVES[1]][index], means[HALVES[0]][index]),
        }
        for index, name in enumerate(detector.layer_names)
    }
    return {
        "clip": scenes.clip.name,
        "irrelevant": "the clip's median, still" if scenes.other is None else scenes.other.name,
        "runtime": detector.runtime.description,
        "turn": seen.turn,
        "frames": len(seen.rates),
        "boxes_per_frame": {
            half: round(float(np.mean(seen.boxes[part])), 3) for half, part in parts.items()
        },
        "share_of_neurons_that_spiked": layers,
        "by_frame": {
            name: [round(float(rate), 5) for rate in seen.rates[:, index]]
            for index, name in enumerate(detector.layer_names)
            if name in (SHALLOW, DEEP)
        },
    }


def _ratio(after: float, before: float) -> float | None:
    return None if before == 0 else round(float(after / before), 4)
