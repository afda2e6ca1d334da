"""Average precision as the Pascal VOC devkit computes it."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.data.voc import Boxes
from training.evaluate.ground_truth import GroundTruth
from training.evaluate.predictions import Predictions

LEAST_IOU = 0.5
"""With a box to have found it."""
Interpolation = Literal["all", "11"]


def pairwise_iou(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """IoU [N, M] of continuous boxes [N, 4] and [M, 4]; 0 where both are empty."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - intersection
    iou: NDArray[np.float64] = np.zeros_like(union)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou


class Matches(NamedTuple):
    """The detections of one class that count, by falling score.

    Attributes:
        true_positive: bool [K].
        scores: float64 [K].
    """

    true_positive: NDArray[np.bool_]
    scores: NDArray[np.float64]


def match_class(predictions: Predictions, truth: GroundTruth, label: int) -> Matches:
    """Tell true from false positives among the detections of one class.

    As in the devkit: detections are taken by falling score, equal scores in the order given. Each
    belongs to the box of its class and picture that it overlaps most. If that IoU is below
    `LEAST_IOU`, it is a false positive; else if the box is difficult, it is ignored; else the
    first detection of the box is a true positive and every further one a false positive.

    Args:
        predictions: the detections of all classes.
        truth: the annotated boxes of all classes.
        label: index of the class.

    Returns:
        True positive or not; ignored detections are not in it.
    """
    chosen = np.flatnonzero(predictions.labels == label)
    chosen = chosen[np.argsort(-predictions.scores[chosen], kind="stable")]
    images, boxes = predictions.image_indices[chosen], predictions.boxes_xyxy[chosen]
    of_class = truth.labels == label
    overlap = np.zeros(len(chosen))
    owner = np.full(len(chosen), -1)
    for image in np.unique(truth.image_indices[of_class]):
        rows = np.flatnonzero(images == image)
        columns = np.flatnonzero(of_class & (truth.image_indices == image))
        iou = pairwise_iou(boxes[rows], truth.boxes_xyxy[columns])
        overlap[rows] = iou.max(axis=1)
        owner[rows] = columns[iou.argmax(axis=1)]
    found = overlap >= LEAST_IOU
    ignored = np.zeros(len(chosen), dtype=np.bool_)
    ignored[found] = truth.difficult[owner[found]]
    true_positive = np.zeros(len(chosen), dtype=np.bool_)
    candidates = np.flatnonzero(found & ~ignored)
    _, first = np.unique(owner[candidates], return_index=True)
    true_positive[candidates[first]] = True
    return Matches(true_positive[~ignored], predictions.scores[chosen][~ignored])


class Curve(NamedTuple):
    """Precision against recall, each 0..1, as its area is the all-point average precision.

    Attributes:
        recall: r_k after the k-th true positive by falling score, rising, [K].
        precision: the highest at any recall of at least r_k, [K]; it holds from r_{k-1} to r_k.
    """

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


def precision_recall(true_positive: NDArray[np.bool_], boxes: int) -> Curve:
    """The curve of detections by falling score.

    Args:
        true_positive: bool [K], as `match_class` gives it.
        boxes: how many boxes there are to find, at least 1.
    """
    hits = np.cumsum(true_positive)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return Curve(hits[true_positive] / boxes, envelope[true_positive])


def average_precision(
    true_positive: NDArray[np.bool_], boxes: int, interpolation: Interpolation
) -> float:
    """Average precision of detections by falling score.

    With recall r and precision p after each detection and P(t) = max of p where r >= t (0 if
    nowhere): `all` is the area under P (devkit since 2010), `11` the mean of P(t) at
    t = 0, 0.1, ... 1 (devkit 2007).

    Args:
        true_positive: bool [K], as `match_class` gives it.
        boxes: how many boxes there are to find, at least 1.
        interpolation: how the curve is sampled.
    """
    curve = precision_recall(true_positive, boxes)
    if interpolation == "all":
        return float(curve.precision.sum() / boxes)  # each hit adds 1 / boxes to r
    # Between two hits P is that of the next one, and beyond the last one 0.
    recall, envelope = np.append(curve.recall, 1.0), np.append(curve.precision, 0.0)
    samples = np.arange(11) / 10  # correctly rounded, so that 3 boxes of 10 reach t = 0.3
    return float(envelope[np.searchsorted(recall, samples)].mean())
