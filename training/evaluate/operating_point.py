"""The score threshold at which detections are most useful to a person: that of the best F1."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spyv4.heads.nms import suppress
from spyv4.options import ReadOptions
from training.evaluate.ground_truth import GroundTruth
from training.evaluate.predictions import Predictions
from training.evaluate.voc_ap import match_class


class OperatingPoint(NamedTuple):
    """A score threshold and what is found there, over the boxes of all classes together.

    Attributes:
        score_threshold: 0..1, rounded down to three decimals.
        precision: share of the shown boxes that are right, 0..1.
        recall: share of the annotated boxes that are found, 0..1.
    """

    score_threshold: float
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0..1."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def best_f1(predictions: Predictions, truth: GroundTruth) -> OperatingPoint | None:
    """The threshold of the highest F1; None where nothing right is found, or there is nothing.

    Matched as in `match_class`, after the suppression with which boxes are shown to people: average
    precision is measured with a gentler one.
    """
    shown = as_shown(predictions)
    matches = [match_class(shown, truth, label) for label in range(len(truth.class_names))]
    right = np.concatenate([match.true_positive for match in matches])
    scores = np.concatenate([match.scores for match in matches])
    boxes = int((~truth.difficult).sum())
    if not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    right, scores = right[order], scores[order]
    hits, shown_so_far = np.cumsum(right), np.arange(1, len(right) + 1)
    # F1 = 2 TP / (boxes shown + boxes there are), and equal scores are shown together.
    f1 = np.where(np.append(scores[1:] < scores[:-1], True), 2 * hits / (shown_so_far + boxes), 0)
    threshold = np.floor(scores[f1.argmax()] * 1000) / 1000
    last = int((scores >= threshold).sum()) - 1
    return OperatingPoint(
        score_threshold=float(threshold),
        precision=float(hits[last] / shown_so_far[last]),
        recall=float(hits[last] / boxes),
    )


def as_shown(predictions: Predictions, score_threshold: float = 0.0) -> Predictions:
    """What is left when boxes are merged as they are for people, from a score up."""
    order = np.argsort(predictions.image_indices, kind="stable")
    starts = np.flatnonzero(np.diff(predictions.image_indices[order], prepend=-1))
    kept: list[NDArray[np.int64]] = []
    for rows in np.split(order, starts[1:]):
        keep = suppress(
            predictions.boxes_xyxy[rows].astype(np.float32),
            predictions.scores[rows].astype(np.float32),
            predictions.labels[rows],
            ReadOptions().iou_threshold,
        )
        kept.append(rows[keep])
    chosen = np.concatenate(kept) if kept else order
    chosen = chosen[predictions.scores[chosen] >= score_threshold]
    return Predictions(
        predictions.image_indices[chosen],
        predictions.labels[chosen],
        predictions.boxes_xyxy[chosen],
        predictions.scores[chosen],
    )
