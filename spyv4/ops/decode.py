"""Raw head maps to boxes, scores and labels: decoding and non-maximum suppression."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spyv4.config import ModelConfig
from spyv4.ops.anchors import Level, decode_boxes, grid_cells, split_levels
from spyv4.ops.boxes import cxcywh_to_xyxy
from spyv4.types import HeadMaps

# Suppression looks at the best candidates alone: so many, or so many a detection that is wanted.
MIN_CANDIDATES = 2000
CANDIDATES_PER_DETECTION = 10


class RawDetections(NamedTuple):
    """Boxes of one picture in pixels of the network's image.

    Attributes:
        boxes_xyxy: float32 [N, 4].
        scores: float32 [N], highest first.
        labels: int64 [N].
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def decode(
    maps: HeadMaps,
    config: ModelConfig,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
) -> list[RawDetections]:
    """Boxes of every picture of a batch.

    The score of a class is objectness times class probability; a box may be reported for several
    classes. Suppression is per class.

    Args:
        maps: raw head maps of B pictures.
        config: classes and anchors.
        score_threshold: least score, 0..1.
        iou_threshold: boxes of one class that overlap more than this are one object, 0..1.
        max_detections: most boxes a picture.
    """
    flat = [_flatten(level) for level in split_levels(maps, config)]
    boxes = torch.cat([b for b, _ in flat], dim=1).cpu()
    scores = torch.cat([s for _, s in flat], dim=1).cpu()
    return [
        _suppress(b, s, score_threshold, iou_threshold, max_detections)
        for b, s in zip(boxes, scores, strict=True)
    ]


def _flatten(level: Level) -> tuple[Tensor, Tensor]:
    """Boxes [B, N, 4] and class scores [B, N, C] of one head."""
    raw = level.raw
    cells = grid_cells(raw.shape[2], raw.shape[3], raw.device)
    boxes = decode_boxes(raw[..., :4], cells, level.anchors[:, None, None], level.stride)
    scores = raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()
    return cxcywh_to_xyxy(boxes).flatten(1, 3), scores.flatten(1, 3)


def _suppress(
    boxes_xyxy: Tensor,
    scores: Tensor,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
) -> RawDetections:
    """Candidates above the threshold, suppressed class by class."""
    rows, labels = torch.nonzero(scores >= score_threshold, as_tuple=True)
    values = scores[rows, labels]
    candidates_kept = max(MIN_CANDIDATES, CANDIDATES_PER_DETECTION * max_detections)
    if len(values) > candidates_kept:
        values, keep = values.topk(candidates_kept)
        rows, labels = rows[keep], labels[keep]
    candidates = boxes_xyxy[rows].numpy()
    kept = nms(candidates, values.numpy(), labels.numpy(), iou_threshold)[:max_detections]
    return RawDetections(candidates[kept], values.numpy()[kept], labels.numpy()[kept])


def nms(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    iou_threshold: float,
) -> NDArray[np.int64]:
    """Indices of the boxes that survive suppression among those of their class.

    Args:
        boxes_xyxy: [N, 4].
        scores: [N].
        labels: [N].
        iou_threshold: boxes of one class that overlap more than this are one object, 0..1.

    Returns:
        int64 [K], highest score first.
    """
    if len(scores) == 0:
        return np.zeros(0, dtype=np.int64)
    boxes_xywh = boxes_xyxy.copy()
    boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
    # OpenCV keeps classes apart by moving each by the largest coordinate, which is not enough
    # for boxes that reach beyond the left or upper edge.
    boxes_xywh[:, :2] -= boxes_xywh[:, :2].min()
    kept = np.asarray(
        cv2.dnn.NMSBoxesBatched(
            boxes_xywh.tolist(), scores.tolist(), labels.tolist(), 0.0, iou_threshold
        ),
        dtype=np.int64,
    )
    return kept[np.argsort(-scores[kept], kind="stable")]
