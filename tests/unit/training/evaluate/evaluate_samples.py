"""Ground truth and detections for the tests, by hand and at random."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluate.ground_truth import GroundTruth
from training.evaluate.predictions import Predictions, predictions_of_rows

Box = tuple[float, float, float, float]


def truth_of(
    rows: Sequence[tuple[int, int, Box, bool]], images: int = 2, classes: int = 2
) -> GroundTruth:
    """Ground truth of rows (picture, class, box, difficult)."""
    return GroundTruth(
        image_ids=tuple(f"{index:06d}" for index in range(images)),
        class_names=("cat", "dog", "cow", "sheep")[:classes],
        image_indices=np.array([row[0] for row in rows], dtype=np.int64),
        labels=np.array([row[1] for row in rows], dtype=np.int64),
        boxes_xyxy=np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4),
        difficult=np.array([row[3] for row in rows], dtype=np.bool_),
    )


def random_case(seed: int, spread: float = 200.0) -> tuple[GroundTruth, Predictions]:
    """Boxes, and detections that are shifted, doubled, invented or missing.

    With a `spread` of at least 200 px no detection can find two boxes; with less, boxes overlap.
    """
    generator = np.random.default_rng(seed)
    images, classes = 40, 3

    def box(cell: int) -> NDArray[np.float64]:
        left_top = generator.uniform(0, 50, 2) + spread * np.array(divmod(cell, 3))
        return np.concatenate([left_top, left_top + generator.uniform(60, 150, 2)])

    truth_rows, rows = [], []
    for image in range(images):
        for cell in range(generator.integers(0, 7)):
            label, placed = int(generator.integers(classes)), box(cell)
            truth_rows.append((image, label, tuple(placed), False))
            for _ in range(generator.choice([0, 1, 1, 1, 2, 3])):
                moved = placed + generator.normal(0, 8, 4)
                rows.append((image, label, moved.tolist(), float(generator.beta(3, 2))))
        for _ in range(generator.integers(0, 6)):
            invented = box(int(generator.integers(9))).tolist()
            score = float(generator.beta(2, 3))
            rows.append((image, int(generator.integers(classes)), invented, score))
    return truth_of(truth_rows, images, classes), predictions_of_rows(rows)
