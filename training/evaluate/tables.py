"""Tables of `spyv4-detect --output NAME.parquet` as predictions."""

from collections.abc import Mapping
from pathlib import Path, PurePath

from spyv4.tables import read_rows
from training.errors import DatasetError
from training.evaluate.predictions import BoxRow


def read_table(path: Path, images: Mapping[str, int], classes: Mapping[str, int]) -> list[BoxRow]:
    """The objects in a table.

    Args:
        path: of the folder, or of one file.
        images: index of every picture that is evaluated, by its name in the data set.
        classes: index of every class.

    Raises:
        DatasetError: for pictures that were not read or are not evaluated, and unknown classes.
        TableError: for a table that is damaged or lacks parts.
    """
    rows: list[BoxRow] = []
    found: dict[str, int] = {}
    for row in read_rows(path):
        name, kind = row["image"], row["class"]
        if row["error"] is not None:
            raise DatasetError(f"{path}: {name} was not read: {row['error']}")
        if row["frame"] is not None:
            raise DatasetError(f"{path}: {name} is a clip; only pictures can be evaluated")
        if name not in found:
            found[name] = _index(path, name, images)
        if kind is None:
            continue
        if kind not in classes:
            raise DatasetError(f"{path}: unknown class {kind!r}; known: {', '.join(classes)}")
        rows.append((found[name], classes[kind], row["box_xyxy"], row["score"]))
    if missing := len(images) - len(set(found.values())):
        raise DatasetError(
            f"{path} lacks {missing} of the {len(images)} evaluated pictures; detect on those, too"
        )
    return rows


def _index(path: Path, name: str, images: Mapping[str, int]) -> int:
    """Index of a picture by its path: by the shortest end of it that the data set knows.

    Data sets call a picture by its file's name without ending or, where two share that, by more
    of its path, with its ending.
    """
    place = PurePath(name)
    if place.stem in images:
        return images[place.stem]
    for start in range(len(place.parts) - 1, -1, -1):
        end = "/".join(place.parts[start:])
        if end in images:
            return images[end]
    raise DatasetError(f"{path}: {name} is not one of the {len(images)} evaluated pictures")
