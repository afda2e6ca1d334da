"""What a frame of the demo shows, and where."""

from dataclasses import dataclass
from typing import NamedTuple

from detector_app.stream.demo import (
    FRAME_SIZE,
    PHOTOGRAPHS,
    SHOT_FRAMES,
    canvas_of,
    photograph,
    transform_of,
)


class Box(NamedTuple):
    """Left, top, right and bottom in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)


OBJECTS = {
    "astronaut": ("person", Box(15, 14, 370, 512)),
    "chelsea": ("cat", Box(28, 0, 402, 300)),
    "motorcycle_left": ("motorbike", Box(98, 75, 686, 452)),
}
"""The class of every photograph's object, and its box in the photograph's pixels."""


@dataclass(frozen=True)
class DemoView:
    """The class of the object in view, the visible part of its box, and that part's share of it."""

    class_name: str
    box: Box
    visible: float

    @property
    def whole(self) -> bool:
        return self.visible > 0.999


def demo_views(indices: range) -> list[DemoView]:
    """What those frames show."""
    sizes = {}
    for name in PHOTOGRAPHS:
        sizes[name] = photograph(name).shape[:2], canvas_of(name).shape[:2]
    return [_view(index, sizes) for index in indices]


def _view(index: int, sizes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> DemoView:
    name = PHOTOGRAPHS[index // SHOT_FRAMES % len(PHOTOGRAPHS)]
    class_name, box = OBJECTS[name]
    (height, width), (full_height, full_width) = sizes[name]
    left, top = (full_width - width) // 2, (full_height - height) // 2
    (scale, _, shift_x), (_, _, shift_y) = transform_of((full_height, full_width), index)
    placed = Box(
        scale * (box.left + left) + shift_x,
        scale * (box.top + top) + shift_y,
        scale * (box.right + left) + shift_x,
        scale * (box.bottom + top) + shift_y,
    )
    seen = Box(
        max(placed.left, 0.0),
        max(placed.top, 0.0),
        min(placed.right, float(FRAME_SIZE[1])),
        min(placed.bottom, float(FRAME_SIZE[0])),
    )
    return DemoView(class_name, seen, seen.area / placed.area)
