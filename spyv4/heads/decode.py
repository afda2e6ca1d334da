"""Raw head maps to boxes, scores and labels: decoding and non-maximum suppression."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spyv4.closest import class_labels
from spyv4.config import ModelConfig
from spyv4.heads.boxes import cxcywh_to_xyxy
from spyv4.heads.codec import CODECS
from spyv4.heads.levels import grid_cells, split_levels
from spyv4.heads.nms import suppress, vote
from spyv4.network.readout import Maps
from spyv4.options import ReadOptions

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


def decode(maps: Maps, config: ModelConfig, options: ReadOptions) -> list[RawDetections]:
    """Boxes of every picture of a batch.

    The score of a class is objectness times class probability; a box may be reported for several
    classes. Suppression is per class, unless `options.agnostic_nms`. With `config.box_voting` what
    survives it is moved to where all that was found there says, and what then overlaps too much
    is suppressed as well.

    Args:
        maps: raw head maps of B pictures.
        config: classes, codec and anchors.
        options: thresholds, classes and the most boxes a picture.

    Raises:
        ArgumentError: if a class of `options` is none of `config`.
    """
    labels = class_labels(options.classes, config.class_names)
    boxes, scores = [], []
    for level in split_levels(maps, config):
        cells = grid_cells(*level.raw.shape[2:4], level.raw.device)
        anchors = level.anchors[:, None, None]
        decoded = CODECS[config.codec](level.raw[..., :4], cells, anchors, level.stride)
        boxes.append(cxcywh_to_xyxy(decoded).flatten(1, 3))
        chances = level.raw[..., 5:]
        if labels:
            chances = chances[..., labels]
        scores.append((level.raw[..., 4:5].sigmoid() * chances.sigmoid()).flatten(1, 3))
    threshold = options.score_threshold
    least = config.score_threshold if threshold is None else threshold
    pairs = zip(torch.cat(boxes, dim=1).cpu(), torch.cat(scores, dim=1).cpu(), strict=True)
    found = [
        _best(of_boxes, of_scores, least, options, voting=config.box_voting)
        for of_boxes, of_scores in pairs
    ]
    if labels:
        found = [raw._replace(labels=np.array(labels)[raw.labels]) for raw in found]
    return found


def _best(
    boxes_xyxy: Tensor,
    scores: Tensor,
    score_threshold: float,
    options: ReadOptions,
    *,
    voting: bool,
) -> RawDetections:
    """Candidates above the threshold that survive suppression."""
    rows, labels = torch.nonzero(scores >= score_threshold, as_tuple=True)
    values = scores[rows, labels]
    candidates_kept = max(MIN_CANDIDATES, CANDIDATES_PER_DETECTION * options.max_detections)
    if len(values) > candidates_kept:
        values, keep = values.topk(candidates_kept)
        rows, labels = rows[keep], labels[keep]
    found = RawDetections(boxes_xyxy[rows].numpy(), values.numpy(), labels.numpy())
    survivors = suppress(*found, options.iou_threshold, agnostic=options.agnostic_nms)
    kept = _at(found, survivors)
    if voting:
        voted = vote(*found, survivors, agnostic=options.agnostic_nms)
        kept = kept._replace(boxes_xyxy=voted)
        kept = _at(kept, suppress(*kept, options.iou_threshold, agnostic=options.agnostic_nms))
    return _at(kept, slice(options.max_detections))


def _at(raw: RawDetections, chosen: NDArray[np.int64] | slice) -> RawDetections:
    """Some of them."""
    return RawDetections(raw.boxes_xyxy[chosen], raw.scores[chosen], raw.labels[chosen])
