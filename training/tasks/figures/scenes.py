"""What the network of figure 3c is shown: frames of a clip, and then of something irrelevant."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spyv4.errors import ArgumentError

Image = NDArray[np.uint8]
SAMPLES = 48
"""Frames of a clip that its empty scene is the median of."""


def read_frames(path: Path, most: int | None = None) -> Iterator[Image]:
    """Frames of a clip from its start, BGR uint8 [H, W, 3].

    Args:
        path: of the clip.
        most: how many; all by default.

    Raises:
        ArgumentError: if it cannot be read.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        number = 0
        while most is None or number < most:
            ok, frame = capture.read()
            if not ok:
                break
            yield frame  # type: ignore[misc]
            number += 1
    finally:
        capture.release()
    if not number:
        raise ArgumentError(f"{path} is not a video that can be read; convert it to MP4")


def empty_scene(path: Path) -> Image:
    """The median of a clip over time: where the camera stands still, all that does not move.

    Args:
        path: of the clip.

    Returns:
        BGR uint8 [H, W, 3].

    Raises:
        ArgumentError: if it cannot be read.
    """
    number = sum(1 for _ in read_frames(path))
    step = max(1, number // SAMPLES)
    kept = [frame for index, frame in enumerate(read_frames(path)) if index % step == 0]
    median: Image = np.median(np.stack(kept[:SAMPLES]), axis=0).astype(np.uint8)
    return median
