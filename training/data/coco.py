"""Reader of the COCO layout: a folder of pictures, and a JSON file with their instances."""

import json
import logging
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from training.data.pictures import check_picture
from training.data.reading import SKIP_ADVICE, UnknownClassError, image_ids, read_all
from training.data.voc import AnnotatedImage, ObjectAnnotation, object_at
from training.errors import DatasetError

logger = logging.getLogger(__name__)

Item = dict[str, Any]


class _Entry(NamedTuple):
    """A picture of a file: the item of it, where they are, and (where, item) of its annotations."""

    item: Item
    where: str
    path: Path
    annotations: list[tuple[str, Item]]
    categories: dict[int, str]


def category_names(file: Path) -> tuple[str, ...]:
    """The names of the categories of an instances file, in its order.

    Raises:
        DatasetError: if the file is not one.
    """
    return tuple(_categories(_load(file), file).values())


def read_coco(
    sources: Sequence[tuple[Path, Path]],
    class_names: Sequence[str],
    *,
    need_images: bool = True,
    skip_bad: bool = False,
) -> list[AnnotatedImage]:
    """The annotated pictures of instances files, in their order; `iscrowd` is difficult.

    Boxes without extent, of which COCO's own files have a few, are left out with a warning.

    Args:
        sources: pairs of a folder of pictures and an instances file.
        class_names: the classes that annotations may be of.
        need_images: check that the pictures are there and complete.
        skip_bad: leave out pictures that are missing or damaged, or whose annotations are, instead
            of raising; decodes every picture once to find them.

    Raises:
        DatasetError: if something is missing, damaged or not understood; names file and item.
    """
    entries = [
        entry for folder, file in sources for entry in _entries(folder, file, skip_bad=skip_bad)
    ]
    where = ", ".join(str(file) for _, file in sources)
    if not entries:
        raise DatasetError(f"no pictures found in {where}; its list of images is empty")
    read = partial(
        _read_picture,
        class_names=frozenset(class_names),
        need_images=need_images,
        thorough=skip_bad,
    )
    jobs = list(zip(image_ids([entry.path for entry in entries]), entries, strict=True))
    return read_all(read, jobs, where, skip_bad=skip_bad)


def _load(file: Path) -> Item:
    """The content of an instances file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{file}, line {error.lineno}: not JSON ({error.msg}); correct it"
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{file} is not JSON; give COCO's instances file") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{file} holds no object with images, annotations and categories")
    return content


def _items(content: Item, key: str, file: Path) -> list[tuple[str, Item]]:
    """(where, item) of the list `key`."""
    items = content.get(key)
    if not isinstance(items, list):
        raise DatasetError(f"{file} has no list of {key}; give COCO's instances file")
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise DatasetError(f"{file}: {key}[{index}] must be an object, not {item!r:.40}")
    return [(f"{file}: {key}[{index}]", item) for index, item in enumerate(items)]


def _value(item: Item, key: str, kind: type, where: str) -> Any:
    """The value of `key`, of which type it must be."""
    value = item.get(key)
    if not isinstance(value, kind):
        words = {int: "a whole number", str: "text"}
        raise DatasetError(f"{where}: {key} must be {words[kind]}, not {value!r:.40}")
    return value


def _categories(content: Item, file: Path) -> dict[int, str]:
    """Id -> name."""
    names: dict[int, str] = {}
    for where, item in _items(content, "categories", file):
        number = _value(item, "id", int, where)
        if number in names:
            raise DatasetError(f"{where}: id {number} comes twice; give every category its own")
        names[number] = _value(item, "name", str, where)
    return names


def _entries(folder: Path, file: Path, *, skip_bad: bool) -> list[_Entry]:
    """The pictures of an instances file with their annotations."""
    content = _load(file)
    categories = _categories(content, file)
    entries: dict[int, _Entry] = {}
    for where, item in _items(content, "images", file):
        number = _value(item, "id", int, where)
        if number in entries:
            raise DatasetError(f"{where}: id {number} comes twice; give every picture its own")
        path = folder / _value(item, "file_name", str, where)
        entries[number] = _Entry(item, where, path, [], categories)
    annotations = _items(content, "annotations", file)
    problems = []
    for where, item in annotations:
        entry = entries.get(_value(item, "image_id", int, where))
        if entry is None:
            problem = f"{where} is of image {item['image_id']}, which is not among the images"
            if not skip_bad:
                raise DatasetError(
                    f"{problem}; correct it, or pass --skip-bad to go on without the annotation"
                )
            problems.append(problem)
        elif isinstance(item.get("bbox"), list) and 0 in item["bbox"][2:]:
            problems.append(f"{where}: the box has no extent")
        else:
            entry.annotations.append((where, item))
    if problems:
        logger.warning(
            "left out %d of %d annotations of %s; the first: %s",
            len(problems),
            len(annotations),
            file,
            problems[0],
        )
    return list(entries.values())


def _read_picture(
    job: tuple[str, _Entry], class_names: frozenset[str], need_images: bool, thorough: bool
) -> AnnotatedImage:
    """One annotated picture."""
    image_id, entry = job
    height = _value(entry.item, "height", int, entry.where)
    width = _value(entry.item, "width", int, entry.where)
    if need_images:
        check_picture(entry.path, (height, width), thorough=thorough)
    objects = []
    for where, item in entry.annotations:
        try:
            objects.append(_read_object(item, (height, width), entry.categories, class_names))
        except ValueError as error:
            raise DatasetError(f"{where}: {error}; {SKIP_ADVICE}") from error
        except UnknownClassError as error:
            raise UnknownClassError(f"{where}: {error}") from error
    return AnnotatedImage(image_id, entry.path, (height, width), tuple(objects))


def _read_object(
    item: Item, size: tuple[int, int], categories: dict[int, str], class_names: frozenset[str]
) -> ObjectAnnotation:
    """The object of an annotation; `ValueError` says what is wrong with it."""
    number = item.get("category_id")
    if not isinstance(number, int) or number not in categories:
        raise UnknownClassError(f"category {number!r:.40} is not among the categories; correct it")
    name = categories[number]
    if name not in class_names:
        raise UnknownClassError(
            f"category {name!r} is not among the classes; add it to those of the data file"
        )
    bbox = item.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise ValueError(f"bbox must be four numbers, x, y, width and height, not {bbox!r:.60}")
    x, y, width, height = bbox
    if width < 0 or height < 0:
        raise ValueError(f"the box has a negative size, {width:g} x {height:g}")
    if not (0 <= x + width / 2 <= size[1] and 0 <= y + height / 2 <= size[0]):
        raise ValueError(f"the box {bbox} has its centre outside the {size[1]} x {size[0]} picture")
    return object_at(name, (x, y, x + width, y + height), item.get("iscrowd") == 1)


def _is_number(value: object) -> bool:
    """Whether it is a finite number, as JSON of Python may not be."""
    return isinstance(value, int | float) and math.isfinite(value)
