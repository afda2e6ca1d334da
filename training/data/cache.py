"""Decoded pictures, kept in memory and, where that is wanted, in a file."""

import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.pictures import Picture, decode_rgb, map_in_threads
from training.errors import DatasetError


class PictureCache:
    """Decoded pictures, kept in memory up to a budget; beyond it in a file, or decoded anew.

    Worker processes that are forked after `fill` share its memory and its file.

    Args:
        paths: the picture files.
        sizes: their (height, width) in pixels.
        longest_side: larger pictures are shrunk until their longer side has this many pixels.
        budget_bytes: memory that decoded pictures may take, in bytes.
        folder: where a file for those beyond the budget may lie, which nobody else sees and which
            goes with the process; None to decode them each time.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        sizes: Sequence[tuple[int, int]],
        longest_side: int,
        budget_bytes: int,
        folder: Path | None = None,
    ) -> None:
        self._paths = paths
        self._sizes = sizes
        self._longest_side = longest_side
        self._folder = folder
        self._ends = np.cumsum([3 * math.prod(self._kept_size(size)) for size in sizes])
        self._in_memory = int(np.searchsorted(self._ends, budget_bytes, side="right"))
        self._pictures: list[Picture] = []
        self._file: _PictureFile | None = None

    @property
    def decoded_bytes(self) -> int:
        """Of all pictures, as they are kept."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def __len__(self) -> int:
        return len(self._paths)

    def decoded(self) -> Iterator[Picture]:
        """All pictures in turn, decoded anew; none is kept."""
        yield from map_in_threads(self._decode, range(len(self._paths)), "decoding pictures")

    def fill(self) -> None:
        """Decode what is to be kept, once; later calls do nothing.

        Raises:
            DatasetError: if a picture cannot be decoded, or there is no room for the file.
        """
        if len(self._pictures) < self._in_memory:
            self._pictures = list(
                map_in_threads(self._decode, range(self._in_memory), "decoding pictures")
            )
        others = range(self._in_memory, len(self._paths))
        if self._folder is not None and self._file is None and others:
            shapes = [(*self._kept_size(self._sizes[index]), 3) for index in others]
            decoded = map_in_threads(self._decode, others, f"decoding pictures to {self._folder}")
            self._file = _PictureFile(self._folder, shapes, decoded)

    def __getitem__(self, index: int) -> Picture:
        """Picture `index`, uint8 [height, width, 3] RGB; not to be written to."""
        if index < len(self._pictures):
            return self._pictures[index]
        if self._file is not None:
            return self._file[index - self._in_memory]
        return self._decode(index)

    def _kept_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (height, width) at which a picture of `size` is kept."""
        shrink = min(1.0, self._longest_side / max(size))
        return max(1, round(size[0] * shrink)), max(1, round(size[1] * shrink))

    def _decode(self, index: int) -> Picture:
        """Read picture `index` from its file and shrink it if it is large."""
        size = self._sizes[index]
        picture = decode_rgb(self._paths[index], size)
        height, width = self._kept_size(size)
        if (height, width) == size:
            return picture
        return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


class _PictureFile:
    """Pictures one after the other in a file without a name.

    Args:
        folder: that it lies in.
        shapes: (height, width, 3) of each.
        pictures: what to write.

    Raises:
        DatasetError: if there is no room.
    """

    def __init__(
        self, folder: Path, shapes: Sequence[tuple[int, ...]], pictures: Iterable[Picture]
    ) -> None:
        self._shapes = shapes
        self._ends = np.cumsum([math.prod(shape) for shape in shapes])
        folder.mkdir(parents=True, exist_ok=True)
        needed, free = int(self._ends[-1]), shutil.disk_usage(folder).free
        if needed > free:
            raise DatasetError(
                f"the decoded pictures need {needed / 2**30:.1f} GiB in {folder}, where "
                f"{free / 2**30:.1f} GiB are free; use --cache ram, or off"
            )
        with tempfile.TemporaryFile(dir=folder) as file:
            for picture in pictures:
                file.write(picture.tobytes())
            file.flush()
            # Outlives the file's descriptor.
            self._pixels: NDArray[np.uint8] = np.memmap(file, np.uint8, "r")

    def __getitem__(self, index: int) -> Picture:
        """Picture `index`."""
        shape = self._shapes[index]
        end = int(self._ends[index])
        return self._pixels[end - math.prod(shape) : end].reshape(shape)
