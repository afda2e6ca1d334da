"""When to stop looking: once the boxes of two successive reads agree.

Let D(t) be the boxes that are found after read t, as they are shown: of at least `score_threshold`
and suppressed. Each has a class c, a box b and a score s. Two boxes agree where

    i ~ j     if  c_i = c_j,  IoU(b_i, b_j) >= agree_iou  and  |s_i - s_j| <= agree_score

and two reads agree where boxes of one can be paired with boxes of the other, one to one, each with
one that it agrees with, and none is left over that is sure to be there:

    D ~ D'    if there is a one-to-one map m from a part of D onto a part of D' such that
              i ~ m(i)  where m is defined, and whichever box of D or D' has
              s >= score_threshold + agree_margin  is in its part

The margin is there since a box near the threshold comes and goes as its score moves a little, and
what it was paired with lies below the threshold, where nobody looks; with `agree_margin` 0 no box
may be left over. Two reads that find nothing agree. The number of reads that a picture gets is

    T = min { t >= 2 : D(t) ~ D(t-1) }    or max_reads, whichever is less

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


def stops(number: int, before: Boxes | None, now: Boxes, options: ReadOptions) -> bool:
    """Whether a picture that is looked at `auto` gets no further read.

    Args:
        number: of the newest read, from 1.
        before: what the read before it found; None where there was none.
        now: what it found.
        options: the parameters of the rule; resolved.
    """
    if number >= options.max_reads:
        return True
    return before is not None and agree(before, now, options)


def agree(one: Boxes, other: Boxes, options: ReadOptions) -> bool:
    """Whether two reads of a picture agree (equation D ~ D'); symmetric, whatever the order.

    Args:
        one: what one read found.
        other: what the other found.
        options: the parameters of the rule, and `score_threshold`; resolved.
    """
    differences = np.abs(one.scores[:, None].astype(float) - other.scores)
    fits = (
        (one.labels[:, None] == other.labels)
        & (_iou(one.boxes_xyxy, other.boxes_xyxy) >= options.agree_iou)
        & (differences <= options.agree_score)
    )
    sure = (options.score_threshold or 0.0) + options.agree_margin
    # Where all sure boxes of either side can be paired, all of both can be at once (Mendelsohn and
    # Dulmage 1958).
    return _can_pair(fits[one.scores >= sure]) and _can_pair(fits.T[other.scores >= sure])


def _iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """IoU of all pairs, [N, M]; boxes without area have none with any but their equals."""
    a, b = one[:, None].astype(float), other[None].astype(float)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - common
    shares = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return np.where((a == b).all(-1), 1.0, shares)


def _can_pair(fits: NDArray[np.bool_]) -> bool:
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
