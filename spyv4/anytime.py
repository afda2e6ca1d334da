"""When to stop looking: once the boxes of two successive reads agree.

Let D(t) be the boxes that are found after read t (of at least `score_threshold`, and suppressed, as
they are shown), each with a class c, a box b and a score s. Two boxes agree where

    i ~ j    if  c_i = c_j,  IoU(b_i, b_j) >= agree_iou  and  |s_i - s_j| <= agree_score

and two reads agree where the boxes of one can be paired with those of the other, each with one that
it agrees with, and none is left over:

    D ~ D'   if there is a one-to-one map m of D onto D' with  i ~ m(i)  for all i in D

Two reads that find nothing agree. The number of reads that a picture gets is

    T = min { t : t >= min_reads, t >= 2, D(t) ~ D(t-1) }    or max_reads, whichever is less

and what is found is D(T). How good that is beside fixed numbers of reads, and how the parameters
were chosen, is in docs/anytime.md.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spyv4.options import ReadOptions


class Boxes(Protocol):
    """What a read found, as `Detections` have it."""

    @property
    def boxes_xyxy(self) -> NDArray[np.float32]:
        """[N, 4]."""

    @property
    def scores(self) -> NDArray[np.float32]:
        """[N]."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """[N]."""


def stops(number: int, before: Boxes, now: Boxes, options: ReadOptions) -> bool:
    """Whether a picture that is looked at `auto` gets no further read.

    Args:
        number: of the newest read, from 2.
        before: what the read before it found.
        now: what it found.
        options: the parameters of the rule.
    """
    if number >= options.max_reads:
        return True
    return number >= options.min_reads and agree(before, now, options)


def agree(one: Boxes, other: Boxes, options: ReadOptions) -> bool:
    """Whether two reads of a picture agree (equation D ~ D'); symmetric, whatever the order.

    Args:
        one: what one read found.
        other: what the other found.
        options: `agree_iou` and `agree_score`.
    """
    if not np.array_equal(np.sort(one.labels), np.sort(other.labels)):
        return False
    differences = np.abs(one.scores[:, None].astype(float) - other.scores)
    fits = (
        (one.labels[:, None] == other.labels)
        & (_iou(one.boxes_xyxy, other.boxes_xyxy) >= options.agree_iou)
        & (differences <= options.agree_score)
    )
    return _pairs_all(fits)


def _iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU of all pairs, [N, M]; boxes without area have none with any but their equals."""
    a, b = one[:, None].astype(float), other[None].astype(float)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    shares = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return np.where((a == b).all(-1), 1.0, shares)


def _pairs_all(fits: NDArray[np.bool_]) -> bool:
    """Whether every row can have a column of its own that it fits, by augmenting paths (Kuhn)."""
    row_of: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column in np.flatnonzero(fits[row]).tolist():
            if column in tried:
                continue
            tried.add(column)
            if column not in row_of or place(row_of[column], tried):
                row_of[column] = row
                return True
        return False

    return all(place(row, set()) for row in range(len(fits)))
