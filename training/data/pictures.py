"""Decoding picture files strictly, and keeping the decoded pictures in memory."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from spyv4.jpeg import decode_jpeg
from training.errors import DatasetError

Picture = NDArray[np.uint8]
Sample = tuple[Picture, NDArray[np.float32]]
"""A picture, and its objects [n, 5]: xyxy as shares of the picture's sides, and class index or
`UNSURE`."""
T = TypeVar("T")
R = TypeVar("R")

_JPEG_END = b"\xff\xd9"
_TAIL_BYTES = 64
_FILE_INTERVAL_S = 10.0


def decode_rgb(path: Path, size: tuple[int, int] | None = None) -> Picture:
    """The picture in `path` as uint8 [height, width, 3] RGB, as stored (no EXIF rotation).

    A picture is whole or an error: what decodes the file must notice what is missing.

    Args:
        path: the file.
        size: the (height, width) in pixels that its annotation states; None for any.

    Raises:
        DatasetError: if the file is missing, truncated, not a picture or of another size.
    """
    with _opened(path, size) as image:
        if image.format == "JPEG" and image.mode in ("RGB", "L"):
            return decode_jpeg(path.read_bytes(), "RGB")
        return np.array(image.convert("RGB"))


def check_picture(path: Path, size: tuple[int, int], *, thorough: bool = False) -> None:
    """Raise `DatasetError` if `decode_rgb` would.

    The cheap check looks at both ends of the file, and decodes only what does not end like a
    JPEG; `thorough` decodes every file.
    """
    with _opened(path, size):
        complete = _ends_like_jpeg(path)
    if thorough or not complete:
        decode_rgb(path, size)


@contextmanager
def _opened(path: Path, size: tuple[int, int] | None) -> Iterator[Image.Image]:
    """The picture file, not decoded yet; turns what goes wrong into `DatasetError`."""
    try:
        with Image.open(path) as image:
            if size is not None and image.size != size[::-1]:
                raise DatasetError(
                    f"{path} has {image.width} x {image.height} pixels, but its annotation says "
                    f"{size[1]} x {size[0]}; correct its <size>, or pass --skip-bad to go on "
                    f"without the picture"
                )
            yield image
    except FileNotFoundError as error:
        raise DatasetError(
            f"missing picture {path}; restore it, or pass --skip-bad to go on without it"
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DatasetError(
            f"damaged or truncated picture {path}; replace it, or pass --skip-bad to go on "
            f"without it"
        ) from error


def _ends_like_jpeg(path: Path) -> bool:
    """Whether the file ends as a complete JPEG does, but for padding."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        return file.read().rstrip(b"\0").endswith(_JPEG_END)


def map_in_threads(function: Callable[[T], R], items: Sequence[T], description: str) -> Iterable[R]:
    """`function` of every item, in order, with progress on standard error after two seconds."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from tqdm(
            pool.map(function, items),
            desc=description,
            total=len(items),
            delay=2,
            leave=False,
            mininterval=0.1 if sys.stderr.isatty() else _FILE_INTERVAL_S,
        )
