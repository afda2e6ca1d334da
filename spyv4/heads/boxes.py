"""Boxes: formats, intersection over union, and the complete IoU."""

import math

import torch
from torch import Tensor

EPSILON = 1e-7


def cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Centre and size to corners, [..., 4]."""
    centre, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return torch.cat((centre - half, centre + half), dim=-1)


def xyxy_to_cxcywh(boxes_xyxy: Tensor) -> Tensor:
    """Corners to centre and size, [..., 4]."""
    low, high = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return torch.cat(((low + high) / 2, high - low), dim=-1)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection and union areas of boxes that broadcast against each other."""
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    intersection = _area((high - low).clamp(min=0))
    area_a, area_b = _area(a[..., 2:] - a[..., :2]), _area(b[..., 2:] - b[..., :2])
    return intersection, area_a + area_b - intersection


def _area(sides: Tensor) -> Tensor:
    """Width times height; the gradient of `prod` would look for zeros first."""
    return sides[..., 0] * sides[..., 1]


def iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Intersection over union in 0..1 of boxes [..., 4] that broadcast against each other.

    Use `iou(a[:, None], b)` for the matrix of all pairs. Boxes without area have an IoU of 0.
    """
    intersection, union = _overlap(a_xyxy, b_xyxy)
    return intersection / union.clamp(min=EPSILON)


def complete_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """Complete IoU (Zheng et al. 2020), at most 1, of boxes [..., 4] pair by pair.

        CIoU = IoU - (distance of centres)^2 / (diagonal of the hull)^2 - a v
        v = 4/pi^2 (atan(w_b/h_b) - atan(w_a/h_a))^2,  a = v / (1 - IoU + v)

    Differentiable in `a_xyxy`; the weight `a` is taken as constant, as in the paper.
    """
    overlap = iou(a_xyxy, b_xyxy)
    hull = torch.maximum(a_xyxy[..., 2:], b_xyxy[..., 2:]) - torch.minimum(
        a_xyxy[..., :2], b_xyxy[..., :2]
    )
    a, b = xyxy_to_cxcywh(a_xyxy), xyxy_to_cxcywh(b_xyxy)
    distance = (a[..., :2] - b[..., :2]).square().sum(-1)
    diagonal = hull.square().sum(-1) + EPSILON
    angle_a = torch.atan(a[..., 2] / (a[..., 3] + EPSILON))
    angle_b = torch.atan(b[..., 2] / (b[..., 3] + EPSILON))
    v = (angle_b - angle_a).square() * (4 / math.pi**2)
    with torch.no_grad():
        weight = v / (1 - overlap + v + EPSILON)
    return overlap - distance / diagonal - weight * v
