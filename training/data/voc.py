"""Reader of the Pascal VOC layout: `VOC2012/{Annotations,ImageSets/Main,JPEGImages}`."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.pictures import check_picture
from training.data.reading import SKIP_ADVICE, UnknownClassError, read_all
from training.errors import DatasetError

Boxes = NDArray[np.float64]
VOC_OFFSET = np.array([1.0, 1.0, 0.0, 0.0])
_TOLERANCE_PX = 1.0
_LISTED = 12


@dataclass(frozen=True)
class ObjectAnnotation:
    """One annotated object.

    Attributes:
        class_name: its class.
        box_xyxy: (xmin, ymin, xmax, ymax) as in VOC's XML: pixels from 1, both ends inclusive;
            with fractions where the data set has them.
        difficult: hard to recognise; VOC neither trains on these nor counts them.
    """

    class_name: str
    box_xyxy: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class AnnotatedImage:
    """A picture file and the objects on it.

    Attributes:
        image_id: the file name without its ending, or more of the path where two share it.
        image_path: the picture file.
        size: (height, width) in pixels.
        objects: what is on it, in the order of the annotation; may be empty.
    """

    image_id: str
    image_path: Path
    size: tuple[int, int]
    objects: tuple[ObjectAnnotation, ...]


def from_voc_pixels(boxes: Boxes) -> Boxes:
    """Continuous boxes of VOC boxes [..., 4] (counted from 1, last pixel included)."""
    continuous: Boxes = boxes - VOC_OFFSET
    return continuous


def to_voc_pixels(boxes_xyxy: Boxes) -> Boxes:
    """VOC boxes (counted from 1, last pixel included) of continuous boxes [..., 4]."""
    pixels: Boxes = boxes_xyxy + VOC_OFFSET
    return pixels


def object_at(
    class_name: str, corners: tuple[float, float, float, float], difficult: bool = False
) -> ObjectAnnotation:
    """The object whose continuous box is `corners`, (x0, y0, x1, y1) in pixels from 0."""
    xmin, ymin, xmax, ymax = to_voc_pixels(np.array(corners, np.float64)).tolist()
    return ObjectAnnotation(class_name, (xmin, ymin, xmax, ymax), difficult)


def parse_image_sets(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs (year folder, split) of a text such as `VOC2007:trainval,VOC2012:trainval`.

    Args:
        text: the image sets, separated by commas.

    Raises:
        DatasetError: if a part is not of the form FOLDER:SPLIT.
    """
    pairs = []
    for part in text.split(","):
        year, colon, split = part.strip().partition(":")
        if not (year and colon and split) or "/" in part or ":" in split:
            raise DatasetError(
                f"image sets must be given as FOLDER:SPLIT, separated by commas, such as "
                f"VOC2007:trainval,VOC2012:trainval, not {text!r}"
            )
        pairs.append((year, split))
    return tuple(pairs)


def read_split(
    voc_root: Path,
    image_sets: str,
    class_names: Sequence[str],
    *,
    need_images: bool = True,
    skip_bad: bool = False,
) -> list[AnnotatedImage]:
    """The annotated pictures of one or more image sets, in the order of their lists.

    Args:
        voc_root: the folder that holds VOC2007 or VOC2012, or the folder that holds its
            VOCdevkit.
        image_sets: such as `VOC2012:train`; see `parse_image_sets`.
        class_names: the classes that annotations may name.
        need_images: check that the pictures are there and complete.
        skip_bad: leave out pictures that are missing or damaged, or whose annotations are,
            instead of raising; decodes every picture once to find them.

    Raises:
        DatasetError: if something is missing, damaged or not understood; names the file.
    """
    jobs = [
        (voc_root_year, image_id)
        for year, split in parse_image_sets(image_sets)
        for voc_root_year in [_year_folder(Path(voc_root), year)]
        for image_id in _read_image_set(voc_root_year, split)
    ]
    read = partial(
        _read_picture,
        class_names=frozenset(class_names),
        need_images=need_images,
        thorough=skip_bad,
    )
    return read_all(read, jobs, image_sets, skip_bad=skip_bad)


def _read_picture(
    job: tuple[Path, str], class_names: frozenset[str], need_images: bool, thorough: bool
) -> AnnotatedImage:
    """One annotated picture."""
    folder, image_id = job
    image = _read_annotation(folder, image_id, class_names)
    if need_images:
        check_picture(image.image_path, image.size, thorough=thorough)
    return image


def _year_folder(voc_root: Path, year: str) -> Path:
    """The folder of one year below `voc_root` or `voc_root`/VOCdevkit."""
    if not voc_root.is_dir():
        raise DatasetError(f"no such folder: {voc_root}; give the folder that holds {year}")
    for parent in (voc_root, voc_root / "VOCdevkit"):
        if (parent / year).is_dir():
            return parent / year
    if (voc_root / "ImageSets").is_dir():
        raise DatasetError(f"{voc_root} is the folder of a year itself; give {voc_root.parent}")
    found = sorted(
        folder.parent.name
        for pattern in ("*/ImageSets", "VOCdevkit/*/ImageSets")
        for folder in voc_root.glob(pattern)
    )
    raise DatasetError(
        f"no {year} in {voc_root} or its VOCdevkit; "
        + (f"it holds: {', '.join(found)}" if found else "give the folder that holds it")
    )


def _read_image_set(folder: Path, split: str) -> list[str]:
    """The picture names that `ImageSets/Main/SPLIT.txt` lists."""
    path = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.txt"))
        # VOC has a list per class as well (cat_train.txt); the plain ones say more.
        names = [name for name in names if "_" not in name] or names
        raise DatasetError(
            f"no image set {path}; available: {', '.join(names[:_LISTED]) or 'none'}"
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text; save it as such") from error
    image_ids = [line.split()[0] for line in lines if line.strip()]
    if not image_ids:
        raise DatasetError(f"{path} lists no pictures; choose another split or fill it")
    return image_ids


def _read_annotation(folder: Path, image_id: str, class_names: frozenset[str]) -> AnnotatedImage:
    """Parse and check one annotation file."""
    path = folder / "Annotations" / f"{image_id}.xml"
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - the user's own files
        size = (_number(root, "size/height"), _number(root, "size/width"))
        objects = tuple(_read_object(node) for node in root.iter("object"))
    except FileNotFoundError as error:
        raise DatasetError(
            f"missing annotation {path}; restore it, or pass --skip-bad to go on without it"
        ) from error
    except (ET.ParseError, LookupError, ValueError) as error:  # LookupError: unknown encoding
        raise DatasetError(
            f"broken annotation {path}: {error}; correct it, or pass --skip-bad to go on without it"
        ) from error
    height, width = int(size[0]), int(size[1])
    for item in objects:
        _check_object(item, (height, width), path, class_names)
    return AnnotatedImage(
        image_id, folder / "JPEGImages" / f"{image_id}.jpg", (height, width), objects
    )


def _read_object(node: ET.Element) -> ObjectAnnotation:
    """An `<object>` as it stands in the XML."""
    xmin, ymin, xmax, ymax = (
        _number(node, f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax")
    )
    return ObjectAnnotation(
        class_name=_text(node, "name"),
        box_xyxy=(xmin, ymin, xmax, ymax),
        difficult=(node.findtext("difficult") or "0").strip() == "1",
    )


def _text(node: ET.Element, path: str) -> str:
    """The text of a child, or a `ValueError` that names it."""
    text = (node.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"<{node.tag}> has no {path}")
    return text


def _number(node: ET.Element, path: str) -> float:
    """The finite number in a child, or a `ValueError` that names it."""
    text = _text(node, path)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path} must be a number, not {text!r}")
    return value


def _check_object(
    item: ObjectAnnotation, size: tuple[int, int], path: Path, class_names: frozenset[str]
) -> None:
    """Raise `DatasetError` for an unknown class or an impossible box."""
    if item.class_name not in class_names:
        raise UnknownClassError(
            f"{path} has an object of class {item.class_name!r}, which is not configured; "
            f"add it to class_names of the model, or correct the annotation"
        )
    xmin, ymin, xmax, ymax = item.box_xyxy
    height, width = size
    if xmax < xmin or ymax < ymin:
        problem = "has no extent"
    elif (
        min(xmin, ymin) < 1 - _TOLERANCE_PX
        or xmax > width + _TOLERANCE_PX
        or ymax > height + _TOLERANCE_PX
    ):
        problem = f"lies outside the {width} x {height} picture"
    else:
        return
    raise DatasetError(
        f"{path}: the box ({xmin:g}, {ymin:g}, {xmax:g}, {ymax:g}) of a {item.class_name} "
        f"{problem}; {SKIP_ADVICE}"
    )
