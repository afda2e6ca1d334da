"""From raw head outputs to boxes and back.

With t the raw outputs of one anchor, (i, j) its cell (column, row), s the stride in pixels and
(a_w, a_h) the anchor in pixels:

    cx = s (2 sigmoid(t_x) - 0.5 + i)        w = a_w (2 sigmoid(t_w))^2
    cy = s (2 sigmoid(t_y) - 0.5 + j)        h = a_h (2 sigmoid(t_h))^2

This is the form of Scaled-YOLOv4: centres reach half a cell beyond their cell, sizes go from
nothing to 4 anchors, and no output can explode as an exponential would.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from spyv4.config import ModelConfig
from spyv4.types import HeadMaps

P5_STRIDE, P4_STRIDE = 32, 16
MAX_RATIO = 4.0


class Level(NamedTuple):
    """One head: its raw map by anchor and what is needed to decode it.

    Attributes:
        raw: [B, A, H, W, 5 + classes]: t_x, t_y, t_w, t_h, objectness logit, class logits.
        anchors: [A, 2] (width, height) in pixels.
        stride: pixels a cell.
    """

    raw: Tensor
    anchors: Tensor
    stride: int


def split_levels(maps: HeadMaps, config: ModelConfig) -> tuple[Level, Level]:
    """The coarse and the fine head, float32, with the anchors of each."""
    return (
        _level(maps.p5, config, config.anchors_p5, P5_STRIDE),
        _level(maps.p4, config, config.anchors_p4, P4_STRIDE),
    )


def _level(raw: Tensor, config: ModelConfig, indices: tuple[int, ...], stride: int) -> Level:
    batch, _, height, width = raw.shape
    by_anchor = raw.float().view(batch, len(indices), -1, height, width).permute(0, 1, 3, 4, 2)
    anchors = torch.tensor([config.anchors[i] for i in indices], device=raw.device)
    return Level(by_anchor, anchors, stride)


def decode_boxes(raw: Tensor, cells: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Raw outputs to boxes.

    Args:
        raw: t_x, t_y, t_w, t_h, [..., 4].
        cells: (column, row), [..., 2].
        anchors: (width, height) in pixels, [..., 2].
        stride: pixels a cell.

    Returns:
        boxes_cxcywh in pixels of the network's image, [..., 4].
    """
    y = raw.sigmoid()
    centre = (y[..., :2] * 2 - 0.5 + cells) * stride
    size = (y[..., 2:] * 2).square() * anchors
    return torch.cat((centre, size), dim=-1)


def encode_boxes(boxes_cxcywh: Tensor, cells: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """The inverse of `decode_boxes`.

    Defined for centres less than one cell from the centre of their cell and for sides below 4
    anchors; others give infinities.
    """
    centre = (boxes_cxcywh[..., :2] / stride - cells + 0.5) / 2
    size = (boxes_cxcywh[..., 2:] / anchors).sqrt() / 2
    return torch.cat((centre, size), dim=-1).logit()


def grid_cells(height: int, width: int, device: torch.device) -> Tensor:
    """(column, row) of every cell, float32 [height, width, 2]."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    return torch.stack((columns, rows), dim=-1)
