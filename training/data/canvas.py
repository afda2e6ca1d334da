"""Pictures in the memory of a device, and samples drawn from them there."""

from collections.abc import Callable, Iterable
from typing import Any

import cv2
import torch
from torch import Tensor

from training.data.layout import GREY, Layout
from training.data.pictures import Picture
from training.data.sizes import Size
from training.errors import OutOfMemoryError

_FILL = 114.0


class Canvas:
    """Draws batches from layouts.

    Args:
        pictures: what to keep, uint8 RGB of any size; each is stretched to `side` first.
        count: how many there are.
        side: (height, width) in pixels.
        device: where to keep them and to draw.

    Raises:
        OutOfMemoryError: if it has too little memory.
    """

    def __init__(
        self, pictures: Iterable[Picture], count: int, side: Size, device: torch.device
    ) -> None:
        try:
            self._kept = torch.empty((count, *side, 3), dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError as error:
            size_gib = 3 * count * side[0] * side[1] / 2**30
            raise OutOfMemoryError(
                f"the GPU's memory is too small for the pictures, {size_gib:.1f} GiB; use another "
                "--cache"
            ) from error
        for index, picture in enumerate(pictures):
            smaller = picture.shape[0] > side[0] and picture.shape[1] > side[1]
            way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            stretched = cv2.resize(picture, side[::-1], interpolation=way)
            self._kept[index] = torch.from_numpy(stretched).to(device)
        self._draw: Callable[..., Any] = _draw
        if device.type == "cuda":
            self._draw = torch.compile(_draw, dynamic=False)

    @torch.no_grad()
    def draw(self, layout: Layout, size: Size) -> Tensor:
        """uint8 RGB [B, 3, height, width] of `size`, channels last in memory."""
        here = Layout(*(value.to(self._kept.device, non_blocking=True) for value in layout))
        drawn: Tensor = self._draw(self._kept, here, size)
        return drawn


def _draw(kept: Tensor, layout: Layout, size: Size) -> Tensor:
    """Every pixel's tile, its place there in the picture, four neighbours, colours."""
    height, width = size
    axes = [torch.arange(side, device=kept.device) + 0.5 for side in (width, height)]
    x, y = axes[0][None, None, :], axes[1][None, :, None]
    right = (x >= layout.corners[:, 0, None, None]).expand(-1, height, -1)
    below = (y >= layout.corners[:, 1, None, None]).expand(-1, -1, width)
    tile = (right + 2 * below.to(torch.int64)).flatten(1)
    picture = layout.pictures.gather(1, tile).view(-1, height, width)
    places = layout.places.flatten(2).gather(1, tile[..., None].expand(-1, -1, 4))
    start_x, length_x, start_y, length_y = places.view(-1, height, width, 4).unbind(-1)
    u, v = (x - start_x) / length_x, (y - start_y) / length_y
    inside = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
    (x0, x1, of_x), (y0, y1, of_y) = _neighbours(u, kept.shape[2]), _neighbours(v, kept.shape[1])

    def row(which: Tensor) -> Tensor:
        left, right = (kept[picture, which, column].float() for column in (x0, x1))
        return torch.lerp(left, right, of_x)

    colour = torch.where(inside[..., None], torch.lerp(row(y0), row(y1), of_y), _FILL)
    colour = torch.stack(
        [(colour * layout.colours[:, None, None, i]).sum(-1) for i in range(3)], dim=-1
    )
    grey = (colour * colour.new_tensor(GREY)).sum(-1).mean((1, 2))[:, None, None, None]
    colour = grey + (colour - grey) * layout.contrasts[:, None, None, None]
    return colour.round().clamp(0, 255).to(torch.uint8).permute(0, 3, 1, 2)


def _neighbours(share: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels of an axis beside a place, and the share of the second."""
    place = (share * side - 0.5).clamp(0, side - 1)
    first = place.floor()
    low = first.to(torch.int64)
    return low, (low + 1).clamp(max=side - 1), (place - first)[..., None]
