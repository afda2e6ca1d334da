"""The YOLOv4 loss of one read: boxes (CIoU), objectness and classes."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from spyv4.config import ModelConfig
from spyv4.ops.anchors import Level, decode_boxes, split_levels
from spyv4.ops.boxes import complete_iou, cxcywh_to_xyxy
from spyv4.types import HeadMaps
from training.assigner import Assignment, assign
from training.config import LossConfig


class LossTerms(NamedTuple):
    """Weighted terms of the loss, scalars."""

    box: Tensor
    objectness: Tensor
    classes: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.box + self.objectness + self.classes


class DetectionLoss:
    """YOLOv4 loss of one read.

        box         = mean over positives of 1 - CIoU
        objectness  = mean over all cells and anchors of BCE(objectness, target); the target of a
                      positive is (1 - g) + g IoU, that of all others 0
        classes     = mean over positives and classes of BCE(class, smoothed one-hot)

    Args:
        model: classes and anchors.
        config: weights of the terms.
    """

    def __init__(self, model: ModelConfig, config: LossConfig) -> None:
        self.model = model
        self.config = config

    def assign(self, maps: HeadMaps, targets: Tensor) -> list[Assignment]:
        """Who is responsible for which object; the same at every read of the same pictures.

        Args:
            maps: raw head maps of B pictures, of which only the shapes count.
            targets: (image, class, cx, cy, w, h) in pixels of the network's image, [N, 6].
        """
        return assign(targets, split_levels(maps, self.model))

    def __call__(self, maps: HeadMaps, assignments: list[Assignment]) -> LossTerms:
        """The terms for the head maps of one read.

        Args:
            maps: raw head maps of B pictures.
            assignments: from `assign` for these pictures.
        """
        levels = split_levels(maps, self.model)
        positives = max(sum(len(a.labels) for a in assignments), 1)
        zero = maps.p5.new_zeros((), dtype=torch.float32)
        box, objectness, classes = zero, zero, zero
        balance = (self.config.p5_balance, self.config.p4_balance)
        for level, assignment, weight in zip(levels, assignments, balance, strict=True):
            raw = level.raw[
                assignment.image, assignment.anchor, assignment.cells[:, 1], assignment.cells[:, 0]
            ]
            overlap = self._overlap(raw, level, assignment)
            box = box + (1 - overlap).sum() / positives
            classes = classes + self._class_loss(raw[:, 5:], assignment.labels) / positives
            objectness = objectness + weight * self._objectness_loss(level, assignment, overlap)
        return LossTerms(
            box * self.config.box_weight,
            objectness * self.config.objectness_weight,
            classes * self.config.class_weight,
        )

    def _overlap(self, raw: Tensor, level: Level, assignment: Assignment) -> Tensor:
        """CIoU of every positive with its object, [P]."""
        boxes = decode_boxes(
            raw[:, :4], assignment.cells, level.anchors[assignment.anchor], level.stride
        )
        return complete_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(assignment.boxes_cxcywh))

    def _class_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """BCE with label smoothing, mean over classes, sum over positives."""
        count = logits.shape[1]
        smoothing = self.config.label_smoothing
        goal = torch.full_like(logits, smoothing / count)
        goal[torch.arange(len(labels)), labels] = 1 - smoothing + smoothing / count
        loss = functional.binary_cross_entropy_with_logits(logits, goal, reduction="sum")
        return loss / count

    def _objectness_loss(self, level: Level, assignment: Assignment, overlap: Tensor) -> Tensor:
        """BCE over all cells and anchors of one head."""
        share = self.config.objectness_iou_share
        goal = level.raw.new_zeros(level.raw.shape[:-1])
        quality = (1 - share) + share * overlap.detach().clamp(min=0)
        _, anchors, height, width = goal.shape
        column, row = assignment.cells.unbind(1)
        flat = ((assignment.image * anchors + assignment.anchor) * height + row) * width + column
        # Two objects in one cell: the better overlap counts, whatever the order.
        goal.view(-1).scatter_reduce_(0, flat, quality, "amax")
        return functional.binary_cross_entropy_with_logits(level.raw[..., 4], goal)
