"""Writes MP4 files."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CODEC = "mp4v"
"""MPEG-4 part 2, which every build of OpenCV writes."""


class Mp4Writer:
    """A clip that grows frame by frame, as large as its first.

    The codec has no odd sides: OpenCV leaves out the last column or row of such frames.

    Args:
        path: of the file; its folder is made.
        rate: frames per second.

    Attributes:
        frames: how many were written.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.frames = 0
        self._path, self._rate = path, rate
        self._size = (0, 0)
        self._writer = cv2.VideoWriter()

    def write(self, image_bgr: NDArray[np.uint8]) -> None:
        """Append a frame [H, W, 3].

        Raises:
            OSError: if the file cannot be written.
        """
        if not self.frames:
            self._size = image_bgr.shape[1], image_bgr.shape[0]
            self._open()
        if (image_bgr.shape[1], image_bgr.shape[0]) != self._size:  # a source may change
            image_bgr = cv2.resize(image_bgr, self._size)  # type: ignore[assignment]
        self._writer.write(image_bgr)
        self.frames += 1

    def close(self) -> None:
        """Finish the file, without which it cannot be played.

        Raises:
            OSError: if it does not hold all frames.
        """
        if not self.frames:
            return
        self._writer.release()
        # OpenCV says nothing where the disk is full.
        written = int(cv2.VideoCapture(str(self._path)).get(cv2.CAP_PROP_FRAME_COUNT))
        if written != self.frames:
            raise OSError(
                f"{self._path} holds {written} of {self.frames} frames; is the disk full?"
            )

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        code = cv2.VideoWriter.fourcc(*CODEC)
        if not self._writer.open(str(self._path), code, self._rate, self._size):
            raise OSError(f"{self._path} cannot be written as MP4 ({CODEC})")
