"""Which cell and anchor is responsible for which object."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spyv4.heads.codec import MAX_RATIO
from spyv4.heads.levels import Level


class Assignment(NamedTuple):
    """The positives of one head.

    Attributes:
        image: index in the batch, int64 [P].
        anchor: index of the anchor within the head, int64 [P].
        cells: (column, row), int64 [P, 2].
        boxes_cxcywh: boxes of the objects in pixels of the network's image, [P, 4].
        labels: classes of the objects, int64 [P].
    """

    image: Tensor
    anchor: Tensor
    cells: Tensor
    boxes_cxcywh: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Assignment":
        """The same on `device`."""
        return Assignment(*(value.to(device, non_blocking=True) for value in self))


def assign_yolov4(
    targets: Tensor, levels: Sequence[Level], unused_anchors: Tensor
) -> list[Assignment]:
    """One anchor and one cell an object (reference section 4b).

    The anchor is the best of all by IoU of shapes, both centred at 0; the cell is that of the
    object's centre. An anchor that two heads share is responsible in both.

    Args:
        targets: (image, class, cx, cy, w, h), pixels of the network's image, [N, 6].
        levels: the heads.
        unused_anchors: further shapes that compete and belong to no head, [K, 2]: their objects
            are nobody's, as those of Tiny-YOLOv4's anchor 0.

    Returns:
        One assignment a head.
    """
    best = _shape_iou(targets[:, 4:], torch.cat([lv.anchors for lv in levels])).amax(1)
    if len(unused_anchors):
        beaten = _shape_iou(targets[:, 4:], unused_anchors).amax(1) > best
        best = torch.where(beaten, torch.inf, best)
    assignments = []
    for level in levels:
        overlap = _shape_iou(targets[:, 4:], level.anchors)
        rows, anchor = torch.nonzero(overlap >= best[:, None], as_tuple=True)
        objects = targets[rows]
        cells = (objects[:, 2:4] / level.stride).long()
        limits = torch.tensor(level.raw.shape[2:4][::-1], device=cells.device) - 1
        cells = cells.minimum(limits).clamp(min=0)  # a centre on the right or lower edge
        assignments.append(
            Assignment(objects[:, 0].long(), anchor, cells, objects[:, 2:], objects[:, 1].long())
        )
    return assignments


def _shape_iou(sides: Tensor, anchors: Tensor) -> Tensor:
    """IoU [N, A] of boxes of these (width, height), all centred at one point."""
    both = torch.minimum(sides[:, None], anchors).prod(-1)
    return both / (sides.prod(-1)[:, None] + anchors.prod(-1) - both)


def assign_scaled(targets: Tensor, levels: Sequence[Level]) -> list[Assignment]:
    """Match objects with anchors by shape and with up to three cells by place.

    An anchor takes an object whose sides differ from its own by a factor below 4; an object that
    no anchor takes goes to the one of the closest shape. Beside the cell of the object's centre,
    the two cells nearest to the centre are positive too, which the `scaled` codec can reach.

    Args:
        targets: (image, class, cx, cy, w, h), pixels of the network's image, [N, 6].
        levels: the heads.

    Returns:
        One assignment a head.
    """
    anchors = torch.cat([level.anchors for level in levels])
    ratio = targets[:, None, 4:] / anchors
    worst = torch.maximum(ratio, 1 / ratio).amax(-1)
    matched = worst < MAX_RATIO * 0.95
    if len(targets):
        matched[torch.arange(len(targets)), worst.argmin(1)] = True
    assignments = []
    first = 0
    for level in levels:
        last = first + len(level.anchors)
        rows, anchor = torch.nonzero(matched[:, first:last], as_tuple=True)
        first = last
        assignments.append(_spread(targets[rows], anchor, level))
    return assignments


def _spread(objects: Tensor, anchor: Tensor, level: Level) -> Assignment:
    """The centre cell and its two nearest neighbours, where they are in the picture."""
    height, width = level.raw.shape[2:4]
    limits = torch.tensor([width, height], device=objects.device)
    place = objects[:, 2:4] / level.stride
    centre = place.floor()
    step = torch.where(place - centre < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(step[:, 0])
    cells = torch.cat(
        (
            centre,
            centre + torch.stack((step[:, 0], zero), dim=1),
            centre + torch.stack((zero, step[:, 1]), dim=1),
        )
    ).long()
    objects, anchor = objects.repeat(3, 1), anchor.repeat(3)
    inside = ((cells >= 0) & (cells < limits)).all(1)
    objects = objects[inside]
    return Assignment(
        objects[:, 0].long(), anchor[inside], cells[inside], objects[:, 2:], objects[:, 1].long()
    )
