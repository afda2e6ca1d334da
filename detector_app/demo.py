"""The demo: a moving view over three photographs that ship with scikit-image.

Frame `i` depends on `i` alone: every photograph is shown for one shot of `SHOT_FRAMES` frames.
A shot starts and ends with the whole photograph; in between the view glides closer and across.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

FRAME_SIZE = (480, 640)
FRAME_RATE = 25.0
SHOT_FRAMES = 200
CLOSEST = 0.62
"""Side of the closest view relative to the whole canvas."""

Image = NDArray[np.uint8]


class Box(NamedTuple):
    """Left, top, right and bottom in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Width times height, 0 for an empty box."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)


@dataclass(frozen=True)
class Photograph:
    """One of the photographs: its object's class, and box in the photograph's pixels."""

    name: str
    class_name: str
    box: Box


PHOTOGRAPHS = (
    Photograph("astronaut", "person", Box(15, 14, 370, 512)),
    Photograph("chelsea", "cat", Box(28, 0, 402, 300)),
    Photograph("stereo_motorcycle", "motorbike", Box(98, 75, 686, 452)),
)


@dataclass(frozen=True)
class DemoView:
    """What a frame of the demo shows.

    Attributes:
        photograph: which of `PHOTOGRAPHS`.
        box: the visible part of its object in pixels of the frame.
        visible: share of the object's area that the view shows, 0..1.
    """

    photograph: Photograph
    box: Box
    visible: float

    @property
    def whole(self) -> bool:
        """Whether all of the object is in view."""
        return self.visible > 0.999


class DemoSource:
    """The demo as a source of frames; it never ends."""

    name = "demo"
    frame_rate: float | None = FRAME_RATE

    def __init__(self) -> None:
        self._canvases: list[tuple[Image, float, float]] = []
        self._next = 0

    def open(self) -> None:
        """Load the photographs and start with frame 0."""
        self._canvases = self._canvases or [_canvas(photo.name) for photo in PHOTOGRAPHS]
        self._next = 0

    def read(self) -> Image:
        """The next frame, BGR uint8 [480, 640, 3]."""
        self._next += 1
        return self.frame(self._next - 1)

    def close(self) -> None:
        """Nothing to let go of."""

    def frame(self, index: int) -> Image:
        """Frame `index`, the same every time it is asked for."""
        canvas, _, _ = self._canvas(index)
        transform = _transform(canvas.shape[:2], index)
        size = (FRAME_SIZE[1], FRAME_SIZE[0])
        return cv2.warpAffine(  # type: ignore[return-value]
            canvas, transform, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )

    def view(self, index: int) -> DemoView:
        """What frame `index` shows, and where."""
        canvas, left, top = self._canvas(index)
        photograph = PHOTOGRAPHS[index // SHOT_FRAMES % len(PHOTOGRAPHS)]
        (scale, _, shift_x), (_, _, shift_y) = _transform(canvas.shape[:2], index)
        x1, y1, x2, y2 = photograph.box
        placed = Box(
            scale * (x1 + left) + shift_x,
            scale * (y1 + top) + shift_y,
            scale * (x2 + left) + shift_x,
            scale * (y2 + top) + shift_y,
        )
        height, width = FRAME_SIZE
        seen = Box(
            max(placed.left, 0.0),
            max(placed.top, 0.0),
            min(placed.right, float(width)),
            min(placed.bottom, float(height)),
        )
        return DemoView(photograph, seen, seen.area / placed.area)

    def _canvas(self, index: int) -> tuple[Image, float, float]:
        if not self._canvases:
            self.open()
        return self._canvases[index // SHOT_FRAMES % len(PHOTOGRAPHS)]


def _canvas(name: str) -> tuple[Image, float, float]:
    """A photograph amid a blurred copy of itself that fills the frame's shape, and its corner."""
    import skimage.data  # here: `spyv4-detect` does without it

    loaded = getattr(skimage.data, name)()
    rgb = loaded[0] if isinstance(loaded, tuple) else loaded
    photo = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    height, width = photo.shape[:2]
    aspect = FRAME_SIZE[1] / FRAME_SIZE[0]
    full_width, full_height = max(width, round(height * aspect)), max(height, round(width / aspect))
    backdrop = cv2.resize(photo, (full_width, full_height))
    canvas = (cv2.GaussianBlur(backdrop, (0, 0), 24) * 0.6).astype(np.uint8)
    left, top = (full_width - width) // 2, (full_height - height) // 2
    canvas[top : top + height, left : left + width] = photo
    return canvas, float(left), float(top)


def _transform(canvas_size: tuple[int, ...], index: int) -> NDArray[np.float64]:
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
