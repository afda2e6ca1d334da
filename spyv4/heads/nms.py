"""Non-maximum suppression."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def suppress(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    iou_threshold: float,
    *,
    agnostic: bool = False,
) -> NDArray[np.int64]:
    """Indices of the boxes that survive suppression among those of their class, or among all.

    Args:
        boxes_xyxy: [N, 4].
        scores: [N].
        labels: [N].
        iou_threshold: boxes of one class that overlap more than this are one object, 0..1.
        agnostic: boxes of different classes are, too.

    Returns:
        int64 [K], highest score first.
    """
    boxes_xywh = boxes_xyxy.astype(np.float64)
    boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
    kept = [np.zeros(0, np.int64)]
    # Class by class: OpenCV's batched call compares all boxes with all, ten times as slow here.
    groups = np.zeros_like(labels) if agnostic else labels
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        # The stubs know lists alone.
        found: list[Any] = [boxes_xywh[rows], scores[rows], 0.0, iou_threshold]
        best = cv2.dnn.NMSBoxes(*found)
        kept.append(rows[np.asarray(best, dtype=np.int64).ravel()])
    indices = np.concatenate(kept)
    return indices[np.argsort(-scores[indices], kind="stable")]
