"""Looking at one part: what every process of a run does, wherever it is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from detector_app.bulk.parts import Part
from detector_app.detecting.inputs import Input
from detector_app.detecting.looking import Looker
from detector_app.errors import SourceError
from detector_app.settings import Settings
from detector_app.stream.clip import open_clip
from spyv4 import Detector
from spyv4.errors import ImageError, TableError
from spyv4.files import file_sha256
from spyv4.tables import Row, error_row, part_path, rows_of, write_rows
from spyv4.weights import find_weights


@dataclass(frozen=True)
class Task:
    """What all parts have in common; goes to other machines as it is.

    Attributes:
        settings: which weights, and how they look.
        folder: where the files go; the same on all machines.
        every: of a clip, one frame in so many.
        weights_sha256: of the weights' file, hexadecimal.
    """

    settings: Settings
    folder: Path
    every: int
    weights_sha256: str


class Done(NamedTuple):
    """What became of a part.

    Attributes:
        number: of the part.
        looks: how many pictures and frames were looked at.
        objects: how many objects were found.
        problems: what was wrong with inputs, a line each.
    """

    number: int
    looks: int
    objects: int
    problems: list[str]


class Worker:
    """Looks at parts, one after the other, and writes a file for each.

    Args:
        task: what all parts have in common.
        detector: to look with; loaded as the task says where it is left out.

    Raises:
        TableError: if the weights here are not those of the run.
    """

    def __init__(self, task: Task, detector: Detector | None = None) -> None:
        weights = find_weights(task.settings.weights)
        if file_sha256(weights) != task.weights_sha256:
            raise TableError(f"{weights} is not the file that the run began with; copy that here")
        self._task = task
        detector = detector or task.settings.load_detector()
        options = replace(task.settings.read_options(detector.config), activity=True)
        self._looker = Looker(detector, options)

    def __call__(self, part: Part) -> Done:
        """Look at a part, and write its file.

        Raises:
            OSError: if it cannot be written.
        """
        rows: list[Row] = []
        looks, problems = 0, []
        for row in self._rows(part):
            rows.append(row)
            if "error" in row:
                problems.append(row["error"])
        looks = len({(row["image"], row["frame"]) for row in rows if "error" not in row})
        write_rows(part_path(self._task.folder, part.number), rows)
        return Done(part.number, looks, sum("class" in row for row in rows), problems)

    def _rows(self, part: Part) -> Iterator[Row]:
        if part.inputs[0].is_clip:
            for item in part.inputs:
                yield from self._clip_rows(item)
            return
        for item, found in zip(part.inputs, self._looker.pictures(part.inputs), strict=True):
            if isinstance(found, ImageError):
                yield error_row(str(item.path), str(found))
            else:
                yield from rows_of(str(item.path), found.detections)

    def _clip_rows(self, item: Input) -> Iterator[Row]:
        task = self._task
        try:
            with open_clip(
                item.path, every=task.every, window_ms=task.settings.event_window_ms
            ) as clip:
                for found in self._looker.clip(item, clip):
                    yield from rows_of(str(item.path), found.detections, found.frame, found.time_s)
        except (ImageError, SourceError) as error:
            yield error_row(str(item.path), str(error))
