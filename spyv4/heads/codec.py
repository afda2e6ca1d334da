"""What the raw outputs of an anchor mean: two codecs, by name.

With t the raw outputs, (i, j) the cell (column, row), s the stride in pixels and (a_w, a_h) the
anchor in pixels:

    yolov4   cx = s (sigmoid(t_x) + i)               w = a_w exp(t_w)
             cy = s (sigmoid(t_y) + j)               h = a_h exp(t_h)
    scaled   cx = s (2 sigmoid(t_x) - 0.5 + i)       w = a_w (2 sigmoid(t_w))^2
             cy = s (2 sigmoid(t_y) - 0.5 + j)       h = a_h (2 sigmoid(t_h))^2

`yolov4` is that of the paper and the authors' release (reference section 4b). `scaled` is the form
of Scaled-YOLOv4: centres reach half a cell beyond their cell, sizes go from nothing to 4 anchors.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Decode = Callable[[Tensor, Tensor, Tensor, int], Tensor]

LARGEST_EXPONENT = 8.0
"""e^8 anchors are wider than any picture; beyond, boxes would be infinite."""
MAX_RATIO = 4.0
"""Of the sides of a box and its anchor, in the `scaled` codec."""


def decode_yolov4(raw: Tensor, cells: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Raw outputs to boxes as YOLOv4 has them.

    Args:
        raw: t_x, t_y, t_w, t_h, [..., 4].
        cells: (column, row), [..., 2].
        anchors: (width, height) in pixels, [..., 2].
        stride: pixels a cell.

    Returns:
        boxes_cxcywh in pixels of the network's image, [..., 4].
    """
    centre = (raw[..., :2].sigmoid() + cells) * stride
    size = raw[..., 2:].clamp(max=LARGEST_EXPONENT).exp() * anchors
    return torch.cat((centre, size), dim=-1)


def decode_scaled(raw: Tensor, cells: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Raw outputs to boxes as Scaled-YOLOv4 has them; arguments as for `decode_yolov4`."""
    y = raw.sigmoid()
    centre = (y[..., :2] * 2 - 0.5 + cells) * stride
    size = (y[..., 2:] * 2).square() * anchors
    return torch.cat((centre, size), dim=-1)


CODECS: Mapping[str, Decode] = {"yolov4": decode_yolov4, "scaled": decode_scaled}
"""By `ModelConfig.codec`."""
