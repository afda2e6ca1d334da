"""Reader of the YOLO layout, as Ultralytics has it: `images/**/NAME.jpg`, `labels/**/NAME.txt`.

A line of a label file is `class cx cy width height`: the index of the class, and shares of the
picture's sides. Where a line has the corners `x y x y x y ...` of a polygon instead, its box is
taken. A picture without a label file has no objects.
"""

import glob
import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from training.data.pictures import check_picture
from training.data.reading import SKIP_ADVICE, UnknownClassError, image_ids, read_all
from training.data.voc import AnnotatedImage, ObjectAnnotation, object_at
from training.errors import DatasetError

ENDINGS: tuple[str, ...] = (".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg")
ENDINGS += (".mpo", ".pfm", ".png", ".tif", ".tiff", ".webp")
"""Pillow may lack one of them, and then says so: better than a picture that is silently missed."""
_COLUMNS, _LEAST_POLYGON = 5, 7
_MOST = 1.1  # of a share of a side: boxes may reach over the border a little, pixels are far off
_ORIENTATION, _TURNED = 0x0112, range(2, 9)  # of EXIF


def read_yolo(
    sources: Sequence[Path],
    class_names: Sequence[str],
    *,
    need_images: bool = True,
    skip_bad: bool = False,
) -> list[AnnotatedImage]:
    """The annotated pictures of folders, sorted, and of lists of pictures, in their order.

    Args:
        sources: folders, and text files with the path of a picture a line.
        class_names: the classes by index.
        need_images: check that the pictures are complete; their size is always read from them.
        skip_bad: leave out pictures that are missing or damaged, or whose labels are, instead of
            raising; decodes every picture once to find them.

    Raises:
        DatasetError: if something is missing, damaged or not understood; names file and line.
    """
    pictures = [picture for source in sources for picture in _pictures(source)]
    where = ", ".join(map(str, sources))
    if not pictures:
        raise DatasetError(f"no pictures found in {where}; they end in {' '.join(ENDINGS)}")
    read = partial(
        _read_picture, class_names=class_names, need_images=need_images, thorough=skip_bad
    )
    jobs = list(zip(image_ids(pictures), pictures, strict=True))
    return read_all(read, jobs, where, skip_bad=skip_bad)


def _pictures(source: Path) -> list[Path]:
    """The pictures in a folder and those below it, or on a list."""
    if source.is_dir():
        return pictures_like(f"{glob.escape(str(source))}/**/*.*")
    lines = [line.strip() for line in _read_text(source).splitlines()]
    return [_listed(line, source.parent) for line in lines if line]


def pictures_like(pattern: str) -> list[Path]:
    """The pictures that a pattern of files names, sorted."""
    # Follows links and passes over what is hidden, unlike Path.rglob.
    found = glob.glob(pattern, recursive=True)  # noqa: PTH207
    return [Path(name) for name in sorted(found) if name.lower().endswith(ENDINGS)]


def _listed(line: str, folder: Path) -> Path:
    """A picture on a list in `folder`, seen from there if it starts with `./` or is not here."""
    return folder / line if line.startswith("./") or not Path(line).exists() else Path(line)


def _label_path(picture: Path) -> Path:
    """The label file: in `labels` for the last folder `images`, else beside the picture."""
    head, _, tail = str(picture.absolute()).rpartition(f"{os.sep}images{os.sep}")
    # Where there is no such folder the tail is the whole path, and stands for itself.
    return Path(head, "labels", tail).with_suffix(".txt")


def _read_picture(
    job: tuple[str, Path], class_names: Sequence[str], need_images: bool, thorough: bool
) -> AnnotatedImage:
    """One annotated picture."""
    image_id, path = job
    size = upright_size(path)
    if need_images:
        check_picture(path, size, thorough=thorough)
    label = _label_path(path)
    objects = []
    for number, line in enumerate(_read_text(label).splitlines() if label.exists() else (), 1):
        try:
            if words := line.split():
                objects.append(_read_object(words, size, class_names))
        except UnknownClassError as error:
            raise UnknownClassError(f"{label}, line {number}: {error}") from error
        except ValueError as error:
            raise DatasetError(f"{label}, line {number}: {error}; {SKIP_ADVICE}") from error
    return AnnotatedImage(image_id, path, size, tuple(objects))


def upright_size(path: Path) -> tuple[int, int]:
    """(height, width) from the head of a picture file, which is to be shown as it is stored.

    Raises:
        DatasetError: if the file is missing, damaged, or to be shown turned.
    """
    try:
        with Image.open(path) as image:
            # Labels are of the picture as it is shown, but pictures are used as they are stored.
            jpeg = image.format in ("JPEG", "MPO")
            turned = jpeg and image.getexif().get(_ORIENTATION) in _TURNED
            size = image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"missing or damaged picture {path}; replace it, or pass --skip-bad to go on without it"
        ) from error
    if turned:
        raise DatasetError(
            f"{path} is to be shown turned (EXIF orientation), so that its labels do not fit the "
            f"stored pixels; save it upright, or pass --skip-bad to go on without it"
        )
    return size


def _read_text(path: Path) -> str:
    """The text of a label file or a list."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text; save it as such") from error


def _read_object(
    words: Sequence[str], size: tuple[int, int], class_names: Sequence[str]
) -> ObjectAnnotation:
    """The object of a line; `ValueError` says what is wrong with it."""
    polygon = len(words) >= _LEAST_POLYGON and len(words) % 2 == 1
    if len(words) != _COLUMNS and not polygon:
        raise ValueError(
            f"must have 5 columns (class, centre x and y, width, height), or a class and the "
            f"corners of a polygon, not {len(words)}"
        )
    index, *numbers = (_number(word) for word in words)
    if index not in range(len(class_names)):
        raise UnknownClassError(
            f"class {words[0]} is none of the {len(class_names)}, 0..{len(class_names) - 1}; "
            f"correct it, or the classes in the data file"
        )
    if polygon:
        low, high = (min(numbers[::2]), min(numbers[1::2])), (max(numbers[::2]), max(numbers[1::2]))
        width, height = high[0] - low[0], high[1] - low[1]
        x, y = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
    else:
        x, y, width, height = numbers
    if not (0 < width <= _MOST and 0 < height <= _MOST):
        raise ValueError(
            f"width and height must be above 0 and at most 1, not {width:g} and {height:g}"
        )
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise ValueError(f"the centre must be in the picture, 0..1, not at {x:g}, {y:g}")
    left, right = (x - width / 2) * size[1], (x + width / 2) * size[1]
    top, bottom = (y - height / 2) * size[0], (y + height / 2) * size[0]
    return object_at(class_names[int(index)], (left, top, right, bottom))


def _number(word: str) -> float:
    """The finite number that a word spells."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{word!r} must be a number")
    return value
