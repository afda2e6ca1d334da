"""The demo: a moving view over three photographs that ship with scikit-image.

Frame `i` depends on `i` alone: every photograph is shown for one shot of `SHOT_FRAMES` frames.
A shot starts and ends with the whole photograph; in between the view glides closer and across.
"""

import importlib.util
import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detector_app.errors import SourceError
from spyv4.preprocess import read_image

FRAME_SIZE = (480, 640)
FRAME_RATE = 25.0
SHOT_FRAMES = 200
CLOSEST = 0.62
"""Side of the closest view relative to the whole canvas."""

PHOTOGRAPHS = ("astronaut", "chelsea", "motorcycle_left")
"""Files in the data of scikit-image."""

Image = NDArray[np.uint8]


class DemoSource:
    """The demo as a source of frames; it never ends."""

    name = "demo"
    frame_rate: float | None = FRAME_RATE
    may_come_back = False

    def __init__(self) -> None:
        self._canvases: list[Image] = []
        self._next = 0

    def open(self) -> None:
        """Load the photographs and start with frame 0."""
        self._canvases = self._canvases or [canvas_of(name) for name in PHOTOGRAPHS]
        self._next = 0

    def read(self) -> Image:
        """The next frame, BGR uint8 [480, 640, 3]."""
        self._next += 1
        return self.frame(self._next - 1)

    def close(self) -> None:
        """Nothing to let go of."""

    def frame(self, index: int) -> Image:
        """Frame `index`, the same every time it is asked for."""
        if not self._canvases:
            self.open()
        canvas = self._canvases[index // SHOT_FRAMES % len(PHOTOGRAPHS)]
        transform = transform_of(canvas.shape[:2], index)
        size = (FRAME_SIZE[1], FRAME_SIZE[0])
        return cv2.warpAffine(  # type: ignore[return-value]
            canvas, transform, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )


def canvas_of(name: str) -> Image:
    """A photograph amid a blurred copy of itself that fills the frame's shape."""
    photo = photograph(name)
    height, width = photo.shape[:2]
    aspect = FRAME_SIZE[1] / FRAME_SIZE[0]
    full_width, full_height = max(width, round(height * aspect)), max(height, round(width / aspect))
    backdrop = cv2.resize(photo, (full_width, full_height))
    canvas = (cv2.GaussianBlur(backdrop, (0, 0), 24) * 0.6).astype(np.uint8)
    left, top = (full_width - width) // 2, (full_height - height) // 2
    canvas[top : top + height, left : left + width] = photo
    return canvas


def photograph(name: str) -> Image:
    """A photograph, BGR, from its file: to import scikit-image for it loads scipy, too, 40 MB.

    Raises:
        SourceError: if scikit-image is not installed.
    """
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise SourceError("the demo's photographs are scikit-image's; pip install 'spyv4[app]'")
    return read_image(Path(package.origin).parent / "data" / f"{name}.png")


def transform_of(canvas_size: tuple[int, ...], index: int) -> NDArray[np.float64]:
    """Affine map [2, 3] from the canvas to frame `index`."""
    height, width = canvas_size
    shot, step = divmod(index, SHOT_FRAMES)
    phase = 2 * math.pi * step / SHOT_FRAMES
    closeness = ((1 - math.cos(phase)) / 2) ** 2  # lingers on the whole
    side = 1 - (1 - CLOSEST) * closeness
    room_x, room_y = (1 - side) * width / 2, (1 - side) * height / 2
    direction = 1 if shot % 2 == 0 else -1
    left = room_x * (1 + direction * 0.9 * math.sin(2 * phase))
    top = room_y * (1 + 0.9 * math.sin(phase))
    scale = FRAME_SIZE[1] / (side * width)
    return np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
