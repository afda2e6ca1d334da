"""Non-maximum suppression, and box voting after it."""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from spyv4.heads.boxes import iou

VOTING_IOU = 0.5
"""With a box that survives, from which on one that does not has a say in where it is."""
_AT_ONCE = 64
"""Survivors that are compared with all boxes together: at 10,000 boxes some 10 MB."""


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


def vote(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    survivors: NDArray[np.int64],
    *,
    agnostic: bool = False,
) -> NDArray[np.float32]:
    """Where the survivors of suppression are, by all that was found there.

    Each becomes the mean, weighted by score, of the boxes of its class, or of all, whose IoU with
    it is at least `VOTING_IOU`, itself among them (box voting, Gidaris & Komodakis 2015).

    Args:
        boxes_xyxy: [N, 4].
        scores: [N].
        labels: [N].
        survivors: indices of the K boxes that `suppress` left, all of which score more than 0.
        agnostic: boxes of different classes are one object, too.

    Returns:
        [K, 4], in the order of `survivors`.
    """
    groups = np.zeros_like(labels) if agnostic else labels
    voted = np.empty((len(survivors), 4), np.float32)
    for group in np.unique(groups[survivors]):
        rows = np.flatnonzero(groups == group)
        places = np.flatnonzero(groups[survivors] == group)
        boxes, weights = torch.from_numpy(boxes_xyxy[rows]), torch.from_numpy(scores[rows])
        for some in np.split(places, range(_AT_ONCE, len(places), _AT_ONCE)):
            chosen = survivors[some]
            near = iou(torch.from_numpy(boxes_xyxy[chosen])[:, None], boxes) >= VOTING_IOU
            near[torch.arange(len(some)), np.searchsorted(rows, chosen)] = True
            votes = near * weights
            voted[some] = (votes @ boxes / votes.sum(1, keepdim=True)).numpy()
    return voted
