"""COCO metrics through pycocotools."""

import contextlib
import io

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from training.evaluate.ground_truth import GroundTruth
from training.evaluate.predictions import Predictions

# Metric: index of its IoU threshold (0.50, 0.55, ... 0.95; None for all) and of its range of areas.
METRICS: dict[str, tuple[int | None, int]] = {
    "ap": (None, 0),
    "ap50": (0, 0),
    "ap75": (5, 0),
    "ap_small": (None, 1),
    "ap_medium": (None, 2),
    "ap_large": (None, 3),
}

MAX_DETECTIONS = 100
"""How many of a class count in one picture, best first."""


def coco_metrics(predictions: Predictions, truth: GroundTruth) -> dict[str, float | None]:
    """COCO's AP averaged over IoU 0.50:0.05:0.95, at 0.50 and 0.75, by area, and its recall.

    Difficult boxes are given as `iscrowd`, the only boxes that pycocotools ignores. They cost
    nothing when missed, and a detection is ignored when half of *its own* area lies in one (for a
    threshold of 0.5), which is kinder than the IoU of the VOC devkit. Areas are those of boxes in
    the pictures as they are stored: small below 32², large above 96² pixels.

    Args:
        predictions: the detections.
        truth: the annotated boxes.

    Returns:
        ap, ap50, ap75, ap_small, ap_medium, ap_large, and ar (recall averaged over the IoU
        thresholds), each 0..1, or None where there is no box to find.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports on stdout
        evaluation = COCOeval(
            _table(truth, truth, crowd=truth.difficult, scores=np.zeros(len(truth.labels))),
            _table(
                truth,
                predictions,
                crowd=np.zeros(len(predictions), dtype=np.bool_),
                scores=predictions.scores,
            ),
            "bbox",
        )
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0]  # [IoU, recall, class, area]
    metrics = {
        name: _mean(precision[slice(None) if iou is None else iou, ..., area])
        for name, (iou, area) in METRICS.items()
    }
    return {**metrics, "ar": _mean(evaluation.eval["recall"][..., 0, 0])}


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean of what pycocotools could measure; it marks the rest by -1."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def _table(
    truth: GroundTruth,
    rows: GroundTruth | Predictions,
    *,
    crowd: NDArray[np.bool_],
    scores: NDArray[np.float64],
) -> COCO:
    """Boxes as pycocotools has them; ids start at 1, since it takes 0 for "no match"."""
    sides = rows.boxes_xyxy[:, 2:] - rows.boxes_xyxy[:, :2]
    columns = {
        "image_id": rows.image_indices.tolist(),
        "category_id": rows.labels.tolist(),
        "bbox": np.hstack([rows.boxes_xyxy[:, :2], sides]).tolist(),
        "area": sides.prod(axis=1).tolist(),
        "iscrowd": crowd.astype(int).tolist(),
        "score": scores.tolist(),
        "id": list(range(1, len(sides) + 1)),
    }
    table = COCO()
    table.dataset = {
        "images": [{"id": index} for index in range(len(truth.image_ids))],
        "categories": [{"id": index} for index in range(len(truth.class_names))],
        "annotations": [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ],
    }
    table.createIndex()
    return table
