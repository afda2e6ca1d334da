"""Saving detections and reading them back.

Two kinds of files: a JSON list of
`{"image_id": "000001", "category": "dog", "bbox": [x, y, w, h], "score": 0.9}`, and a folder with
the devkit's `comp4_det_test_CLASS.txt`, lines `image_id score xmin ymin xmax ymax`. The package's
docstring states the coordinates. Numbers are written in full: saved detections score the same.
Tables of `spyv4-detect --output NAME.parquet` are read, too.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from spyv4.files import write_atomically
from spyv4.tables import SUFFIX, is_table_folder
from training.data.voc import from_voc_pixels, to_voc_pixels
from training.errors import DatasetError
from training.evaluate.predictions import BoxRow, Predictions, predictions_of_rows
from training.evaluate.tables import read_table

DEVKIT_FILE = re.compile(r"comp[34]_det_[^_]+_(?P<name>.+)\.txt")
LARGEST = 1e9  # keeps the areas of boxes finite
JSON_KEYS = ("image_id", "category", "bbox", "score")

T = TypeVar("T")


def read_predictions(
    path: Path, image_ids: Sequence[str], class_names: Sequence[str]
) -> Predictions:
    """Read a JSON list, a folder with the devkit's files, or a table of `spyv4-detect`.

    Args:
        path: the file or the folder.
        image_ids: the pictures that there are.
        class_names: the classes that there are.

    Raises:
        DatasetError: for whatever is wrong with them; names the file and the entry or line.
        TableError: for a table that is damaged or lacks parts.
    """
    images = {name: index for index, name in enumerate(image_ids)}
    classes = {name: index for index, name in enumerate(class_names)}
    if is_table_folder(path) or (path.suffix == SUFFIX and path.is_file()):
        return predictions_of_rows(read_table(path, images, classes))
    if path.is_dir():
        return predictions_of_rows(_read_devkit(path, images, classes))
    if path.is_file():
        return predictions_of_rows(_read_json(path, images, classes))
    raise DatasetError(f"{path}: no such file or folder of saved detections")


def write_predictions(
    path: Path, predictions: Predictions, image_ids: Sequence[str], class_names: Sequence[str]
) -> None:
    """Save as a JSON list or, where `path` is a folder, as the devkit's files."""
    rows = list(
        zip(
            [image_ids[index] for index in predictions.image_indices],
            [class_names[index] for index in predictions.labels],
            predictions.boxes_xyxy,
            predictions.scores.tolist(),
            strict=True,
        )
    )
    if path.is_dir():
        lines: dict[str, list[str]] = {name: [] for name in class_names}
        for image_id, name, box, score in rows:
            numbers = " ".join(repr(value) for value in to_voc_pixels(box).tolist())
            lines[name].append(f"{image_id} {score!r} {numbers}\n")
        for name in class_names:
            write_text(path / f"comp4_det_test_{name}.txt", "".join(lines[name]))
        return
    entries = []
    for image_id, name, box, score in rows:
        bbox = np.concatenate([box[:2], box[2:] - box[:2]]).tolist()
        values = (image_id, name, bbox, score)
        entries.append(json.dumps(dict(zip(JSON_KEYS, values, strict=True))))
    write_text(path, "[\n" + ",\n".join(entries) + "\n]\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; its folder is made where there is none."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def _read_json(path: Path, images: dict[str, int], classes: dict[str, int]) -> list[BoxRow]:
    """The rows of a JSON list."""

    def row(entry: Any) -> BoxRow:
        if not isinstance(entry, dict):
            raise DatasetError(f"must be an object, not {_short(entry)}")
        for key in JSON_KEYS:
            if key not in entry:
                raise DatasetError(f"has no {key!r}")
        image = _index(images, entry["image_id"], "image_id")
        label = _index(classes, entry["category"], "category")
        bbox = entry["bbox"]
        if not isinstance(bbox, list) or len(bbox) != 4:
            raise DatasetError(f"bbox must be [x, y, width, height], not {_short(bbox)}")
        x, y, width, height = (_number(value, "bbox") for value in bbox)
        box = _checked_box(x, y, x + width, y + height)
        return image, label, box, _number(entry["score"], "score")

    try:
        entries = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not JSON ({error})") from error
    if not isinstance(entries, list):
        raise DatasetError(f"{path}: must hold a list of detections, not {_short(entries)}")
    return _each(entries, row, f"{path}: entry")


def _read_devkit(folder: Path, images: dict[str, int], classes: dict[str, int]) -> list[BoxRow]:
    """The rows of all the devkit's files in a folder."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = DEVKIT_FILE.fullmatch(path.name)
        if match:
            name = match["name"]
            if name in files:
                raise DatasetError(f"{folder}: {files[name].name} and {path.name} are one class")
            files[name] = path
    if not files:
        raise DatasetError(f"{folder}: has no files named comp4_det_test_CLASS.txt")
    return [row for name, path in files.items() for row in _read_class(path, name, images, classes)]


def _read_class(
    path: Path, name: str, images: dict[str, int], classes: dict[str, int]
) -> list[BoxRow]:
    """The rows of one of the devkit's files."""

    def row(line: str) -> BoxRow:
        words = line.split()
        if len(words) != 6:
            raise DatasetError(f"must be 'image_id score xmin ymin xmax ymax', not {_short(line)}")
        image = _index(images, words[0], "image_id")
        score, *corners = (_number(_parsed(word), "a value") for word in words[1:])
        box = from_voc_pixels(np.array(corners)).tolist()
        return image, label, _checked_box(*box), score

    if name not in classes:
        raise DatasetError(f"{path}: unknown class {name!r}; known: {', '.join(classes)}")
    label = classes[name]
    return _each(_read_text(path).rstrip().splitlines(), row, f"{path}: line", start=1)


def _each(
    items: Iterable[T], read: Callable[[T], BoxRow], where: str, start: int = 0
) -> list[BoxRow]:
    """The row of every item; an error names the item that it is in."""
    rows = []
    for number, item in enumerate(items, start):
        try:
            rows.append(read(item))
        except DatasetError as error:
            raise DatasetError(f"{where} {number}: {error}") from error
    return rows


def _read_text(path: Path) -> str:
    """A text file's content."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not a text file") from error


def _parsed(word: str) -> Any:
    """A word as the number it spells, or as it is."""
    try:
        return float(word)
    except ValueError:
        return word


def _number(value: Any, name: str) -> float:
    """`value` as a finite float."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return float(value)
    raise DatasetError(f"{name} must be a finite number, not {_short(value)}")


def _checked_box(x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    """The box, if its sides are not negative."""
    if x1 < x0 or y1 < y0:
        raise DatasetError(f"box must not have negative sides, not {x1 - x0:g} x {y1 - y0:g}")
    return x0, y0, x1, y1


def _index(known: dict[str, int], value: Any, key: str) -> int:
    """The index of a picture or class, by its name."""
    if not isinstance(value, str):
        raise DatasetError(f"{key} must be text, not {_short(value)}")
    if value not in known:
        raise DatasetError(f"unknown {key} {value!r}, not one of the {len(known)} evaluated")
    return known[value]


def _short(value: Any) -> str:
    """What came, on one short line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
