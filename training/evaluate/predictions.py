"""Detections of a whole data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spyv4.types import Detections
from training.data.voc import Boxes

BoxRow = tuple[int, int, Sequence[float], float]


@dataclass(frozen=True)
class Predictions:
    """Detections of a data set, one row a box, in the order in which they were given.

    Attributes:
        image_indices: int64 [N], the picture of each box, an index into the ground truth's.
        labels: int64 [N], the class of each box, an index into the ground truth's.
        boxes_xyxy: float64 [N, 4], continuous pixels.
        scores: float64 [N], finite.
    """

    image_indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes_xyxy: Boxes
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)


def predictions_of_rows(rows: Sequence[BoxRow]) -> Predictions:
    """Predictions from rows of picture index, class index, continuous box and score."""
    return Predictions(
        image_indices=np.array([row[0] for row in rows], dtype=np.int64),
        labels=np.array([row[1] for row in rows], dtype=np.int64),
        boxes_xyxy=np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4),
        scores=np.array([row[3] for row in rows], dtype=np.float64),
    )


def predictions_of_detections(detections: Sequence[Detections]) -> Predictions:
    """Predictions from what the detector found, picture by picture as in the ground truth."""
    return predictions_of_rows(
        [
            (index, label, box, score)
            for index, item in enumerate(detections)
            for label, box, score in zip(
                item.labels.tolist(), item.boxes_xyxy.tolist(), item.scores.tolist(), strict=True
            )
        ]
    )
