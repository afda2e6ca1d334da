"""Decoding picture files strictly, and keeping the decoded pictures in memory."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from training.errors import DatasetError

Picture = NDArray[np.uint8]
T = TypeVar("T")
R = TypeVar("R")

_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_TAIL_BYTES = 64


def decode_rgb(path: Path) -> Picture:
    """The picture in `path` as uint8 [height, width, 3] RGB, as stored (no EXIF rotation).

    Pillow decodes, since it refuses a truncated file where OpenCV fills up with grey.

    Raises:
        DatasetError: if the file is missing, truncated or not a picture.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except FileNotFoundError as error:
        raise DatasetError(f"missing picture {path}; restore it, or pass --skip-bad") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise _damaged(path) from error


def check_picture(path: Path, *, thorough: bool = False) -> None:
    """Raise `DatasetError` if `path` is missing or damaged.

    The cheap check reads both ends of the file and decodes only what does not end like a JPEG;
    `thorough` decodes every file.
    """
    if not thorough and _looks_complete(path):
        return
    decode_rgb(path)


def _looks_complete(path: Path) -> bool:
    """Whether the file starts and ends as a complete JPEG does."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_JPEG_START))
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
    except OSError:
        return False
    return start == _JPEG_START and tail.rstrip(b"\0").endswith(_JPEG_END)


def _damaged(path: Path) -> DatasetError:
    return DatasetError(
        f"damaged or truncated picture {path}; replace it, or pass --skip-bad to go on without it"
    )


def map_in_threads(function: Callable[[T], R], items: Sequence[T], description: str) -> Iterable[R]:
    """`function` of every item, in order, with a progress bar on a terminal after two seconds."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from tqdm(
            pool.map(function, items),
            desc=description,
            total=len(items),
            delay=2,
            leave=False,
            disable=None,
        )


class PictureCache:
    """Decoded pictures, kept in memory up to a budget and decoded anew beyond it.

    Worker processes that are forked after `fill` share its memory.

    Args:
        paths: the picture files.
        sizes: their (height, width) in pixels.
        longest_side: larger pictures are shrunk until their longer side has this many pixels.
        budget_bytes: memory that decoded pictures may take, in bytes.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        sizes: Sequence[tuple[int, int]],
        longest_side: int,
        budget_bytes: int,
    ) -> None:
        self._paths = paths
        self._sizes = sizes
        self._longest_side = longest_side
        ends = np.cumsum([3 * math.prod(self._kept_size(size)) for size in sizes])
        self._cached = int(np.searchsorted(ends, budget_bytes, side="right"))
        self._pictures: list[Picture] = []

    @property
    def cached(self) -> int:
        """How many of the pictures, counted from the first, fit the budget."""
        return self._cached

    def fill(self) -> None:
        """Decode what fits the budget, once; later calls do nothing."""
        if len(self._pictures) < self._cached:
            self._pictures = list(
                map_in_threads(self._decode, range(self._cached), "decoding pictures")
            )

    def __getitem__(self, index: int) -> Picture:
        """Picture `index`, uint8 [height, width, 3] RGB; not to be written to."""
        if index < len(self._pictures):
            return self._pictures[index]
        return self._decode(index)

    def _kept_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) at which a picture of `size` is kept."""
        shrink = min(1.0, self._longest_side / max(size))
        return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))

    def _decode(self, index: int) -> Picture:
        """Read picture `index` from its file and shrink it if it is large."""
        picture = decode_rgb(self._paths[index])
        size = self._sizes[index]
        if picture.shape[:2] != size:
            raise DatasetError(
                f"{self._paths[index]} has {picture.shape[1]} x {picture.shape[0]} pixels, but its "
                f"annotation says {size[1]} x {size[0]}; correct the <size> in its XML"
            )
        height, width = self._kept_size(size)
        if (height, width) == size:
            return picture
        return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
