"""Small video files, written and read back."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detector_app.stream.demo import canvas_of


class WrittenClip(NamedTuple):
    """Frames [N, H, W, 3] at `rate` a second."""

    frames: NDArray[np.uint8]
    rate: float


def write_clip(
    path: Path,
    frames: int,
    size: tuple[int, int] = (48, 64),
    *,
    codec: str = "mp4v",
    moves: bool = True,
) -> Path:
    """A view of (height, width) = `size` that glides over a photograph, at 12.5 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    canvas = cv2.resize(canvas_of("chelsea"), (width + 8 * frames, height))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 12.5, (width, height))
    for number in range(frames):
        left = 8 * number if moves else 0
        writer.write(np.ascontiguousarray(canvas[:, left : left + width]))
    writer.release()
    return path


def read_clip(path: Path) -> WrittenClip:
    """All that can be decoded of a clip."""
    capture, frames = cv2.VideoCapture(str(path)), []
    rate = capture.get(cv2.CAP_PROP_FPS)
    while True:
        ok, frame = capture.read()
        if not ok:
            return WrittenClip(np.stack(frames), rate)
        frames.append(frame)
