"""The inverse of the codecs, for maps on which something is found."""

import torch
from torch import Tensor


def encode_scaled(boxes_cxcywh: Tensor, cells: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Raw outputs of `decode_scaled`; centres within a cell of theirs, sides below 4 anchors."""
    centre = (boxes_cxcywh[..., :2] / stride - cells + 0.5) / 2
    size = (boxes_cxcywh[..., 2:] / anchors).sqrt() / 2
    return torch.cat((centre, size), dim=-1).logit()


def encode_yolov4(boxes_cxcywh: Tensor, cells: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Raw outputs of `decode_yolov4`; centres within their cell."""
    centre = (boxes_cxcywh[..., :2] / stride - cells).logit()
    return torch.cat((centre, (boxes_cxcywh[..., 2:] / anchors).log()), dim=-1)
