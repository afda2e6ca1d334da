"""Which detection shows which annotated box, whatever its class says; what is confused with what.

Average precision asks class by class (`match_class`); here a detection may also show a box of
another class.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.evaluate.ground_truth import GroundTruth
from training.evaluate.predictions import Predictions
from training.evaluate.voc_ap import LEAST_IOU, pairwise_iou

NOTHING = -1


class Pairs(NamedTuple):
    """What each detection shows.

    Attributes:
        owner: int64 [N], the annotated box that each detection shows; -1 for none.
        iou: float64 [N], its IoU with that box; 0 for none.
        counted: bool [N], false where the box is difficult, so that the detection is ignored.
        right: bool [N], whether it shows a box that counts, of its own class.
        missed: bool [M], annotated boxes that count and that no detection shows as their class.
    """

    owner: NDArray[np.int64]
    iou: NDArray[np.float64]
    counted: NDArray[np.bool_]
    right: NDArray[np.bool_]
    missed: NDArray[np.bool_]


def pair(predictions: Predictions, truth: GroundTruth) -> Pairs:
    """Pair detections with annotated boxes.

    Detections are taken by falling score, equal scores in the order given. Each shows the box of
    its picture that it overlaps most, among those that none shows yet, if their IoU is at least
    0.5. A difficult box may be shown any number of times.
    """
    owner = np.full(len(predictions), NOTHING)
    overlap = np.zeros(len(predictions))
    taken = np.zeros(len(truth.labels), dtype=np.bool_)
    order = np.argsort(-predictions.scores, kind="stable")
    for image in np.unique(predictions.image_indices):
        rows = order[predictions.image_indices[order] == image]
        boxes = np.flatnonzero(truth.image_indices == image)
        all_iou = pairwise_iou(predictions.boxes_xyxy[rows], truth.boxes_xyxy[boxes])
        for row, iou in zip(rows, all_iou, strict=True):
            free = np.where(taken[boxes], 0.0, iou)
            if free.max(initial=0.0) < LEAST_IOU:
                continue
            best = boxes[free.argmax()]
            owner[row], overlap[row] = best, free.max()
            taken[best] = not truth.difficult[best]
    shows = owner != NOTHING
    counted, right = np.ones(len(owner), dtype=np.bool_), np.zeros(len(owner), dtype=np.bool_)
    counted[shows] = ~truth.difficult[owner[shows]]
    right[shows] = truth.labels[owner[shows]] == predictions.labels[shows]
    right &= counted
    missed = ~truth.difficult
    missed[owner[right]] = False
    return Pairs(owner, overlap, counted, right, missed)


def confusion_matrix(
    predictions: Predictions, truth: GroundTruth, pairs: Pairs
) -> NDArray[np.int64]:
    """Boxes by true class (rows) and class found (columns), [C + 1, C + 1].

    The last row counts detections that show no box, the last column boxes that no detection shows.
    """
    nothing = len(truth.class_names)
    matrix = np.zeros((nothing + 1, nothing + 1), np.int64)
    shows = pairs.owner != NOTHING
    true = np.full(len(predictions), nothing)
    true[shows] = truth.labels[pairs.owner[shows]]
    np.add.at(matrix, (true[pairs.counted], predictions.labels[pairs.counted]), 1)
    unseen = ~truth.difficult
    unseen[pairs.owner[shows]] = False
    matrix[:-1, -1] = np.bincount(truth.labels[unseen], minlength=nothing)
    return matrix


def picture_quality(
    predictions: Predictions, truth: GroundTruth, pairs: Pairs
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How well each picture went, -1..1, and the sum that this is the mean of, both [pictures].

    The mean of: IoU * score for every box that is found; -1 for every one that is missed; -score
    for every wrong detection. NaN where a picture has none of them.
    """
    images = len(truth.image_ids)
    wrong = pairs.counted & ~pairs.right
    found = predictions.image_indices
    terms = (
        (found[pairs.right], (pairs.iou * predictions.scores)[pairs.right]),
        (found[wrong], -predictions.scores[wrong]),
        (truth.image_indices[pairs.missed], -np.ones(int(pairs.missed.sum()))),
    )
    total, count = np.zeros(images), np.zeros(images)
    for where, values in terms:
        total += np.bincount(where, values, minlength=images)
        count += np.bincount(where, minlength=images)
    mean = np.full(images, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean, total
