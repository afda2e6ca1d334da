"""The file of `--data`: where the pictures and boxes of a data set are, in TOML or YAML.

In each of three layouts `train`, `val` and `test` are one entry or a list of them, `classes` are
the names of the classes in order, and paths start at `path`:

    VOC    voc_root, and sets such as "VOC2007:trainval,VOC2012:trainval"
    COCO   sets {images = FOLDER, annotations = FILE}; classes default to the file's categories
    YOLO   sets that are folders of pictures or lists of them (.txt): Ultralytics' data.yaml as it
           is, with its `names`
"""

import difflib
import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from spyv4.errors import ConfigError
from spyv4.validation import configuration, from_mapping
from training.data.coco import category_names, read_coco
from training.data.voc import AnnotatedImage, read_split
from training.data.yolo import read_yolo
from training.errors import DatasetError

SETS = ("train", "val", "test")
_KEYS = (*SETS, "classes", "path", "voc_root", "names", "nc", "validation")
_NOT_USED = ("channels", "download", "minival", "roboflow")
"""Keys of Ultralytics' files that say nothing about pictures and boxes."""
Texts = Annotated[tuple[str, ...], Field(min_length=1)]


@configuration
class VocData:
    """The VOC layout; for the fields see the top of this module."""

    voc_root: str
    train: Texts
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    classes: Texts | None = None
    path: str = ""


@configuration
class CocoSet:
    """A folder of pictures and the instances on them."""

    images: str
    annotations: str


@configuration
class CocoData:
    """The COCO layout."""

    train: Annotated[tuple[CocoSet, ...], Field(min_length=1)]
    val: tuple[CocoSet, ...] = ()
    test: tuple[CocoSet, ...] = ()
    classes: Texts | None = None
    path: str = ""


@configuration
class YoloData:
    """The YOLO layout."""

    train: Texts
    classes: Texts
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    path: str = ""


Layout = VocData | CocoData | YoloData


@dataclass(frozen=True)
class DataFile:
    """A data set as its file describes it.

    Attributes:
        file: the file.
        layout: what it says.
        class_names: the classes in order; None where it leaves them to the network.
    """

    file: Path
    layout: Layout
    class_names: tuple[str, ...] | None

    def read(
        self,
        name: str,
        class_names: Sequence[str],
        *,
        need_images: bool = True,
        skip_bad: bool = False,
    ) -> list[AnnotatedImage]:
        """The annotated pictures of a set, such as `train`; the arguments as in `read_split`.

        Raises:
            DatasetError: as there, and if the file has no such set or a class that is not among
                `class_names`.
        """
        entries: Sequence[Any] = getattr(self.layout, name) if name in SETS else ()
        if not entries:
            known = ", ".join(key for key in SETS if getattr(self.layout, key))
            raise DatasetError(f"{self.file} has no set {name!r}; it has: {known or 'none'}")
        unknown = [repr(key) for key in self.class_names or () if key not in class_names]
        if unknown:
            raise DatasetError(
                f"{self.file} has the class {unknown[0]} ({len(unknown)} in all) that the network "
                f"does not know; it knows: {', '.join(class_names)}"
            )
        names = self.class_names or class_names
        if isinstance(self.layout, VocData):
            root, sets = self._find(self.layout.voc_root), ",".join(entries)
            return read_split(root, sets, names, need_images=need_images, skip_bad=skip_bad)
        if isinstance(self.layout, CocoData):
            pairs = [(self._find(entry.images), self._find(entry.annotations)) for entry in entries]
            return read_coco(pairs, names, need_images=need_images, skip_bad=skip_bad)
        sources = [self._find(entry) for entry in entries]
        return read_yolo(sources, names, need_images=need_images, skip_bad=skip_bad)

    def _find(self, entry: str) -> Path:
        return _find(entry, self.layout.path, self.file)


def read_data_file(file: Path) -> DataFile:
    """Read a data file; the pictures and boxes are left where they are.

    Raises:
        DatasetError: if it is not one; names the file, and the line or key.
    """
    values = _parse(file)
    _check_keys(values, file)
    if "train" not in values:
        raise DatasetError(f"{file} has no train; name the pictures to train on")
    _settle_classes(values, file)
    for key in SETS:
        if key in values and not isinstance(values[key], list):
            values[key] = [values[key]]
    kind: type[Layout] = YoloData
    if "voc_root" in values:
        kind = VocData
    elif any(isinstance(item, dict) for key in SETS for item in values.get(key, ())):
        kind = CocoData
    elif "classes" not in values:
        raise DatasetError(
            f"{file} is of no known layout; it needs voc_root (VOC), sets with images and "
            f"annotations (COCO), or names (YOLO)"
        )
    try:
        layout: Layout = from_mapping(kind, values)
    except ConfigError as error:
        raise DatasetError(f"{file}: {error}") from error
    names = layout.classes
    if names is None and isinstance(layout, CocoData):
        names = category_names(_find(layout.train[0].annotations, layout.path, file))
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise DatasetError(f"{file}: class {repeated[0]!r} comes twice; give each its own name")
    return DataFile(file, layout, names)


def _parse(file: Path) -> dict[str, Any]:
    """The settings as plain values, without what is empty or says nothing here."""
    if file.suffix not in (".toml", ".yaml", ".yml"):
        raise DatasetError(f"{file} must be a .toml or .yaml file that names train and val")
    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text) if file.suffix == ".toml" else yaml.safe_load(text)
        # As JSON, which has text for the dates and numbers for the keys of YAML.
        values = json.loads(json.dumps(values, default=str))
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DatasetError(f"{file}{line}: not valid YAML ({error.problem}); correct it") from error
    except (yaml.YAMLError, TypeError, ValueError) as error:  # of TOML, text and JSON
        reason = " ".join(str(error).split())
        raise DatasetError(f"{file} is not valid TOML or YAML ({reason}); correct it") from error
    if not isinstance(values, dict):
        raise DatasetError(f"{file} must hold keys such as train and val, not {values!r:.40}")
    return {
        key: value
        for key, value in values.items()
        if value not in (None, "") and key not in _NOT_USED
    }


def _check_keys(values: dict[str, Any], file: Path) -> None:
    """Refuse unknown keys."""
    for key in values:
        if key not in _KEYS:
            close = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_KEYS)}"
            raise DatasetError(f"{file}: unknown key {key!r}; {hint}")


def _settle_classes(values: dict[str, Any], file: Path) -> None:
    """Ultralytics' `names` and `nc` become `classes`, and its `validation` `val`."""
    for old, new in (("names", "classes"), ("validation", "val")):
        if old in values:
            if new in values:
                raise DatasetError(f"{file} has both {old} and {new}; keep one")
            values[new] = values.pop(old)
    names, count = values.get("classes"), values.pop("nc", None)
    if isinstance(names, dict):
        indices = [str(index) for index in range(len(names))]
        if set(names) != set(indices):
            raise DatasetError(
                f"{file}: names must be numbered from 0 without gaps, not {', '.join(names)}"
            )
        names = [names[index] for index in indices]
    elif names is None and isinstance(count, int):
        names = [f"class_{index}" for index in range(count)]
    if isinstance(names, list):
        if count not in (None, len(names)):
            raise DatasetError(f"{file}: nc is {count}, but there are {len(names)} names")
        # Digits are fine names; what YAML takes for true or false should have been quoted.
        values["classes"] = [str(name) if type(name) is int else name for name in names]


def _find(entry: str, path: str, file: Path) -> Path:
    """A file or folder that a data file names, where Ultralytics finds it.

    It starts at `path`, which is seen from the working folder or, if not there, from the data file
    (Ultralytics has a folder for all data sets there); without `path` at the data file. A `../`
    too many is forgiven, since Roboflow writes it.
    """
    roots = [Path(path), file.parent / path] if path else [file.parent]
    places = [root / tail for root in roots for tail in (entry, entry.removeprefix("../"))]
    for place in places:
        if place.exists():
            return place.resolve()
    looked = " or ".join(dict.fromkeys(map(str, places)))
    raise DatasetError(f"{file}: no such file or folder: {looked}; correct the entry, or path")
