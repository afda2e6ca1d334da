"""The values that the detector hands out."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spyv4.closest import class_labels
from spyv4.drawing import class_colour, draw_boxes, write_picture
from spyv4.errors import ArgumentError
from spyv4.extras import require_extra
from spyv4.preprocess import Frame, Picture, load_frame

if TYPE_CHECKING:
    import supervision

Index = int | np.integer[Any] | slice | Sequence[int] | NDArray[np.bool_] | NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes found in one picture after one read.

    It holds no pixels: what shows or cuts the picture is given it again. `detections[index]` (a
    number, slice, mask or list of numbers) has some of the objects; iterating gives one at a time.

    Attributes:
        boxes_xyxy: float32 [N, 4], pixels of the original picture: left, top, right, bottom.
        scores: float32 [N], objectness times class probability, 0..1, highest first.
        labels: int64 [N], indices into `class_names`.
        class_names: names of all classes that the model knows.
        image_size: (height, width) of the original picture in pixels.
        reads: how many reads were made to get here, at least 1.
        firing_rates: share of neurons that spiked at this read, by layer name, 0..1; empty
            unless activity was asked for.
        rasters: for every layer that was asked for, bool [n] spikes of its first n sampled
            neurons at this read; empty unless asked for.
        heat: for every layer that was asked for, float32 [h, w] share of neurons that spiked at
            every place at this read, the picture being h x w cells; empty unless asked for.
        operations: what all reads so far took: `spikes`, `synaptic_operations`,
            `multiply_accumulates` and `energy_mj`, as `spyv4.energy` counts and estimates them;
            empty unless activity was asked for at all of them.
        timings_ms: wall time by stage (`preprocess`, `network`, `decode`) in milliseconds.
        tracks: int64 [N], which object of the video each is, from 1, and 0 where that is not known
            (yet); None where nobody tracks.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    reads: int
    firing_rates: Mapping[str, float] = field(default_factory=dict)
    rasters: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    tracks: NDArray[np.int64] | None = None
    heat: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    operations: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator["Detections"]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Index) -> "Detections":
        rows = np.arange(len(self))[index]
        rows = np.atleast_1d(rows)
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy[rows],
            scores=self.scores[rows],
            labels=self.labels[rows],
            tracks=None if self.tracks is None else self.tracks[rows],
        )

    @property
    def names(self) -> list[str]:
        """Class name of every box."""
        return [self.class_names[int(label)] for label in self.labels]

    def filter(
        self, classes: str | Iterable[str] | None = None, score: float | None = None
    ) -> "Detections":
        """The objects of some classes, or of some score.

        Args:
            classes: names of the classes to keep, or one name; all by default.
            score: the least score to keep, 0..1; all by default.

        Raises:
            ArgumentError: if the model does not know a class; names the closest.
        """
        keep = np.ones(len(self), bool)
        if classes is not None:
            wanted = (classes,) if isinstance(classes, str) else tuple(classes)
            keep &= np.isin(self.labels, class_labels(wanted, self.class_names))
        if score is not None:
            keep &= self.scores >= score
        return self[keep]

    def plot(self, image: Picture) -> Frame:
        """A copy of the picture with a box, class and score for every object.

        Args:
            image: the picture that the objects were found in, of any kind `detect` takes.

        Returns:
            BGR uint8 [H, W, 3].

        Raises:
            ArgumentError: if its size is not `image_size`.
            ImageError: if it cannot be read.
        """
        texts = [f"{name} {score:.0%}" for name, score in zip(self.names, self.scores, strict=True)]
        if self.tracks is not None:
            texts = [
                f"#{track} {text}" if track else text
                for track, text in zip(self.tracks, texts, strict=True)
            ]
        colours = [class_colour(int(label)) for label in self.labels]
        return draw_boxes(self._frame(image), self.boxes_xyxy, texts, colours)

    def save(self, path: str | Path, image: Picture) -> None:
        """Write `plot(image)` to a file.

        Args:
            path: of the file; its suffix says the format, such as .jpg or .png.
            image: as for `plot`.

        Raises:
            ArgumentError: if no format has this suffix, or the picture is of another size.
            ImageError: if the picture cannot be read.
        """
        write_picture(Path(path), self.plot(image))

    def crop(self, image: Picture) -> list[Frame]:
        """The part of the picture in every box: copies, BGR uint8, at least one pixel each.

        Args:
            image: as for `plot`.

        Raises:
            ArgumentError: if its size is not `image_size`.
            ImageError: if it cannot be read.
        """
        frame = self._frame(image)
        height, width = self.image_size
        parts = []
        for box in self.boxes_xyxy.tolist():
            left, top = min(math.floor(box[0]), width - 1), min(math.floor(box[1]), height - 1)
            left, top = max(0, left), max(0, top)
            right, bottom = max(left + 1, math.ceil(box[2])), max(top + 1, math.ceil(box[3]))
            parts.append(frame[top:bottom, left:right].copy())
        return parts

    def to_list(self) -> list[dict[str, Any]]:
        """Boxes as plain JSON values: `class`, `score`, `box` (left, top, right, bottom).

        Where objects are tracked, also `track`, which is None for those that are not (yet).
        """
        rows = [
            {
                "class": name,
                "score": round(float(score), 4),
                "box": [round(float(v), 2) for v in box],
            }
            for name, score, box in zip(self.names, self.scores, self.boxes_xyxy, strict=True)
        ]
        if self.tracks is not None:
            for row, track in zip(rows, self.tracks.tolist(), strict=True):
                row["track"] = track or None
        return rows

    def to_dict(self) -> dict[str, Any]:
        """All but the rasters as plain JSON values, under the names that the HTTP API has."""
        return {
            "width": self.image_size[1],
            "height": self.image_size[0],
            "reads": self.reads,
            "detections": self.to_list(),
            "firing_rates": {name: float(rate) for name, rate in self.firing_rates.items()},
            "timings_ms": {name: round(ms, 2) for name, ms in self.timings_ms.items()},
        }

    def to_coco(
        self, image_id: int, category_ids: Mapping[str, int] | None = None
    ) -> list[dict[str, Any]]:
        """Boxes as results of COCO: `image_id`, `category_id`, `bbox`, `score`.

        Args:
            image_id: the picture's number in the data set.
            category_ids: number of every class by its name; by default the class's index in
                `class_names`, from 0.

        Raises:
            ArgumentError: if the class of an object has no number.
        """
        if category_ids is None:
            category_ids = {name: index for index, name in enumerate(self.class_names)}
        if missing := sorted(set(self.names) - set(category_ids)):
            raise ArgumentError(f"category_ids must have a number for {', '.join(missing)}")
        return [
            {
                "image_id": image_id,
                "category_id": category_ids[row["class"]],
                "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                "score": row["score"],
            }
            for row in self.to_list()
            for left, top, right, bottom in [row["box"]]
        ]

    def to_supervision(self) -> "supervision.Detections":
        """The objects for supervision's annotators, zones and trackers.

        Raises:
            RuntimeUnavailableError: if supervision is not installed; says what to install.
        """
        require_extra("track", "supervision's detections")
        import supervision  # here: it takes a second

        return supervision.Detections(
            xyxy=self.boxes_xyxy,
            confidence=self.scores,
            class_id=self.labels,
            tracker_id=self.tracks,
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def _frame(self, image: Picture) -> Frame:
        """The picture's pixels, if it can be the one that the objects were found in."""
        frame = load_frame(image)
        if frame.shape[:2] != self.image_size:
            raise ArgumentError(
                f"image must be the picture that the objects were found in, {self.image_size[1]} x "
                f"{self.image_size[0]} pixels, not {frame.shape[1]} x {frame.shape[0]}"
            )
        return frame
