"""The loss of one read: boxes (CIoU), objectness and classes, in two fashions."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from spyv4.config import ModelConfig
from spyv4.heads.boxes import complete_iou, cxcywh_to_xyxy, iou
from spyv4.heads.codec import CODECS
from spyv4.heads.levels import Level, anchor_tensor, grid_cells, split_levels
from spyv4.network.readout import Maps
from training import processes
from training.config import LossConfig
from training.loss.assign import Assignment, assign_scaled, assign_yolov4


class LossTerms(NamedTuple):
    """Weighted terms of the loss, scalars; that of the teacher is 0 without one."""

    box: Tensor
    objectness: Tensor
    classes: Tensor
    teacher: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return self.box + self.objectness + self.classes + self.teacher


class Positives(NamedTuple):
    """The responsible places of one head.

    Attributes:
        raw: their outputs, [P, 5 + classes].
        overlap: complete IoU of each with its object, [P].
        assignment: their objects.
        level: the head.
        targets: the objects of the batch, as for `DetectionLoss.assign`.
        unsure: what is neither an object to learn nor background, [M, 5], as in `Batch`.
        positives: of all heads, mean over processes, above 0.
    """

    raw: Tensor
    overlap: Tensor
    assignment: Assignment
    level: Level
    targets: Tensor
    unsure: Tensor
    positives: float


class DetectionLoss(ABC):
    """The loss of one read.

    Args:
        model: classes, heads and codec.
        config: weights of the terms.
    """

    def __init__(self, model: ModelConfig, config: LossConfig) -> None:
        self.model, self.config = model, config
        self.decode = CODECS[model.codec]

    def assign(self, maps: Maps, targets: Tensor) -> list[Assignment]:
        """Who is responsible for which object; the same at every read of the same pictures.

        How many are responsible decides the shapes of what follows, so a GPU would be waited for:
        it is computed where the targets are, and its result goes where the maps are.

        Args:
            maps: raw head maps of B pictures, of which only the shapes count.
            targets: (image, class, cx, cy, w, h) in pixels of the network's image, [N, 6].
        """
        levels = tuple(
            level._replace(anchors=anchor_tensor(head.anchors, targets.device))
            for level, head in zip(split_levels(maps, self.model), self.model.heads, strict=True)
        )
        return [found.to(maps[0].device) for found in self._assign(targets, levels)]

    def __call__(
        self,
        maps: Maps,
        assignments: list[Assignment],
        targets: Tensor,
        unsure: Tensor | None = None,
    ) -> LossTerms:
        """The terms for the head maps of one read.

        Args:
            maps: raw head maps of B pictures.
            assignments: from `assign` for these pictures.
            targets: as for `assign`.
            unsure: (image, cx, cy, w, h) in pixels of the network's image, [M, 5]: what is neither
                to be learned nor to be taken for background.
        """
        unsure = targets.new_zeros(0, 5) if unsure is None else unsure
        here = torch.tensor(float(sum(len(a.labels) for a in assignments)))
        count = max(float(processes.mean(here)), 1 / processes.count())
        zero = maps[0].new_zeros((), dtype=torch.float32)
        box, objectness, classes = zero, zero, zero
        levels = split_levels(maps, self.model)
        for level, assignment, weight in zip(levels, assignments, self.config.balance, strict=True):
            column, row = assignment.cells.unbind(1)
            raw = level.raw[assignment.image, assignment.anchor, row, column]
            boxes = self.decode(
                raw[:, :4], assignment.cells, level.anchors[assignment.anchor], level.stride
            )
            overlap = complete_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(assignment.boxes_cxcywh))
            found = Positives(raw, overlap, assignment, level, targets, unsure, count)
            box = box + self._box(found) / count
            classes = classes + self._classes(found) / count
            objectness = objectness + weight * self._objectness(found)
        return LossTerms(
            box * self.config.box_weight,
            objectness * self.config.objectness_weight,
            classes * self.config.class_weight,
            zero,
        )

    @abstractmethod
    def _assign(self, targets: Tensor, levels: tuple[Level, ...]) -> list[Assignment]:
        """One assignment a head."""

    @abstractmethod
    def _box(self, found: Positives) -> Tensor:
        """Sum over positives."""

    @abstractmethod
    def _classes(self, found: Positives) -> Tensor:
        """Sum over positives."""

    @abstractmethod
    def _objectness(self, found: Positives) -> Tensor:
        """Of all places of one head."""

    def _class_entropy(self, found: Positives) -> Tensor:
        """BCE with label smoothing, sum over positives and classes."""
        logits, labels = found.raw[:, 5:], found.assignment.labels
        smoothing = self.config.label_smoothing
        spread = smoothing / logits.shape[1]
        goal = torch.full_like(logits, spread)
        goal.scatter_(1, labels[:, None], 1 - smoothing + spread)
        return functional.binary_cross_entropy_with_logits(logits, goal, reduction="sum")

    @torch.no_grad()
    def _near(self, level: Level, image: Tensor, boxes_cxcywh: Tensor) -> Tensor:
        """Places [B, A, H, W] whose box overlaps one of these [N, 4] too much to be background."""
        cells = grid_cells(*level.raw.shape[2:4], level.raw.device)
        anchors = level.anchors[:, None, None]
        boxes = self.decode(level.raw[..., :4], cells, anchors, level.stride)
        flat = cxcywh_to_xyxy(boxes).flatten(1, 3)
        image = image.long()
        overlap = iou(flat[image], cxcywh_to_xyxy(boxes_cxcywh)[:, None])
        largest = flat.new_zeros(flat.shape[:2])
        largest.scatter_reduce_(0, image[:, None].expand_as(overlap), overlap, "amax")
        return (largest > self.config.ignore_iou).view(level.raw.shape[:-1])

    def _places(self, found: Positives) -> Tensor:
        """Index of every positive among the flattened places of its head, [P]."""
        _, anchors, height, width, _ = found.level.raw.shape
        image, anchor, cells, _, _ = found.assignment
        return ((image * anchors + anchor) * height + cells[:, 1]) * width + cells[:, 0]


class ScaledLoss(DetectionLoss):
    """After the fashion of YOLOv5.

    box         = mean over positives of 1 - CIoU
    objectness  = mean over all places of BCE(objectness, goal); the goal of a positive is
                  (1 - g) + g CIoU, that of all others 0, and none where the box has an IoU above
                  `ignore_iou` with what is unsure
    classes     = mean over positives and classes of BCE(class, smoothed one-hot)
    """

    def _assign(self, targets: Tensor, levels: tuple[Level, ...]) -> list[Assignment]:
        return assign_scaled(targets, levels)

    def _box(self, found: Positives) -> Tensor:
        return (1 - found.overlap).sum()

    def _classes(self, found: Positives) -> Tensor:
        return self._class_entropy(found) / (found.raw.shape[1] - 5)

    def _objectness(self, found: Positives) -> Tensor:
        share = self.config.objectness_iou_share
        goal = found.level.raw.new_zeros(found.level.raw.shape[:-1])
        quality = (1 - share) + share * found.overlap.detach().clamp(min=0)
        # Two objects in one cell: the better overlap counts, whatever the order.
        goal.view(-1).scatter_reduce_(0, self._places(found), quality, "amax")
        counts = None
        if len(found.unsure):
            near = self._near(found.level, found.unsure[:, 0], found.unsure[:, 1:])
            counts = torch.maximum((goal > 0).float(), (~near).float())
        return functional.binary_cross_entropy_with_logits(found.level.raw[..., 4], goal, counts)


class YOLOv4Loss(DetectionLoss):
    """As in the authors' release (reference section 4b); all terms over the number of positives.

    box         = (1 - CIoU) (2 - w h), w and h as shares of the picture
    objectness  = BCE(objectness, 1) of positives, BCE(objectness, 0) of all other places but
                  those whose box has an IoU above `ignore_iou` with an object, or what is unsure
    classes     = sum over classes of BCE(class, smoothed one-hot)
    """

    def _assign(self, targets: Tensor, levels: tuple[Level, ...]) -> list[Assignment]:
        return assign_yolov4(targets, levels, self._unused_anchors(targets.device))

    def _unused_anchors(self, device: torch.device) -> Tensor:
        return anchor_tensor(self.model.unused_anchors, device).view(-1, 2)

    def _box(self, found: Positives) -> Tensor:
        height, width = (side * found.level.stride for side in found.level.raw.shape[2:4])
        area = found.assignment.boxes_cxcywh[:, 2:].prod(1) / (height * width)
        return ((1 - found.overlap) * (2 - area)).sum()

    def _classes(self, found: Positives) -> Tensor:
        return self._class_entropy(found)

    def _objectness(self, found: Positives) -> Tensor:
        logits = found.level.raw[..., 4]
        goal = logits.new_zeros(logits.shape)  # contiguous, whatever the maps are
        goal.view(-1).index_fill_(0, self._places(found), 1.0)  # `[...] = 1` waits for the GPU
        image = torch.cat((found.targets[:, 0], found.unsure[:, 0]))
        boxes = torch.cat((found.targets[:, 2:], found.unsure[:, 1:]))
        counts = torch.maximum(goal, (~self._near(found.level, image, boxes)).float())
        loss = functional.binary_cross_entropy_with_logits(logits, goal, counts, reduction="sum")
        return loss / found.positives


LOSSES: dict[str, type[DetectionLoss]] = {"scaled": ScaledLoss, "yolov4": YOLOv4Loss}


def build_loss(model: ModelConfig, config: LossConfig) -> DetectionLoss:
    """The loss that goes with the model's codec."""
    return LOSSES[model.codec](model, config)
