"""Writers of what was found, one for every kind of output."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from detector_app.detecting.found import Found
from detector_app.detecting.inputs import Targets
from spyv4.drawing import write_picture
from spyv4.files import write_atomically

LABELS, CROPS = "labels", "crops"


class Writer(Protocol):
    """Takes what was found, picture by picture and frame by frame."""

    def write(self, found: Found) -> None:
        """Take one more."""

    def close(self) -> None:
        """There is no more to come, whether all were done or not."""


class JsonLinesWriter:
    """A line of JSON for every picture and frame, handed to the system at once.

    A process that is killed has its lines up to there.

    Args:
        path: of the file; replaced where it exists.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream: TextIO = path.open("w", encoding="utf-8")

    def write(self, found: Found) -> None:
        """Write the line."""
        self._stream.write(json.dumps(found.to_dict()) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class JsonWriter:
    """One JSON object, from the key of every picture and frame to its boxes; written at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._boxes: dict[str, list[dict[str, Any]]] = {}

    def write(self, found: Found) -> None:
        """Remember the boxes."""
        self._boxes[found.key] = found.detections.to_list()

    def close(self) -> None:
        """Write the file."""
        _write_json(self._path, self._boxes)


class CocoWriter:
    """A file in COCO's layout, with `score` in its annotations; written at the end.

    Args:
        path: of the file.
        class_names: categories, numbered from 0 in their order.
    """

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        self._path = path
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories = [{"id": index, "name": name} for index, name in enumerate(class_names)]

    def write(self, found: Found) -> None:
        """Remember the picture and its boxes."""
        height, width = found.detections.image_size
        number = len(self._images) + 1
        self._images.append(
            {"id": number, "file_name": found.key, "width": width, "height": height}
        )
        for row in found.detections.to_coco(number):
            area = round(row["bbox"][2] * row["bbox"][3], 2)
            numbered = {"id": len(self._annotations) + 1, **row, "area": area, "iscrowd": 0}
            self._annotations.append(numbered)

    def close(self) -> None:
        """Write the file."""
        content = {
            "images": self._images,
            "categories": self._categories,
            "annotations": self._annotations,
        }
        _write_json(self._path, content)


class YoloWriter:
    """A text file for every picture and frame, a line an object, as YOLO labels are.

    A line has the class's index, then centre and size as shares of the picture's width and height.

    Args:
        folder: they go to `labels/` in it.
        targets: what is taken.
    """

    def __init__(self, folder: Path, targets: Targets) -> None:
        self._folder, self._targets = folder / LABELS, targets

    def write(self, found: Found) -> None:
        """Write the file, an empty one where nothing was found."""
        height, width = found.detections.image_size
        lines = []
        for label, box in zip(found.detections.labels, found.detections.boxes_xyxy, strict=True):
            left, top, right, bottom = (float(value) for value in box)
            shares = (
                (left + right) / 2 / width,
                (top + bottom) / 2 / height,
                (right - left) / width,
                (bottom - top) / height,
            )
            lines.append(" ".join([str(int(label)), *(f"{share:.6f}" for share in shares)]) + "\n")
        path = self._targets.take(self._folder / f"{found.name}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")

    def close(self) -> None:
        """Nothing is left to do."""


class CropWriter:
    """A picture of every object.

    Args:
        folder: they go to `crops/CLASS/` in it.
        suffix: of the pictures, such as `.jpg`.
        targets: what is taken.
    """

    def __init__(self, folder: Path, suffix: str, targets: Targets) -> None:
        self._folder, self._suffix, self._targets = folder / CROPS, suffix, targets

    def write(self, found: Found) -> None:
        """Write the pictures, the highest score first."""
        crops = found.detections.crop(found.image_bgr)
        for number, (name, crop) in enumerate(zip(found.detections.names, crops, strict=True)):
            group = re.sub(r"[^\w-]+", "_", name)
            path = self._folder / group / f"{found.name}-{number}{self._suffix}"
            write_picture(self._targets.take(path), crop)

    def close(self) -> None:
        """Nothing is left to do."""


def _write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
