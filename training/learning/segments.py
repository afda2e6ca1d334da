"""How a rule cuts a sequence into segments, each followed by one update."""

from itertools import pairwise
from typing import NamedTuple

from training.config import LearnerConfig

DEFAULT_SEGMENTS = 10
"""Of `fptt-k` and `tbptt`, as the authors cut their sequences (reference 3b)."""


class Segment(NamedTuple):
    """Steps `start` to `stop` - 1, counted from 0, through which the gradient goes back."""

    start: int
    stop: int


def segments(config: LearnerConfig, steps: int) -> list[Segment]:
    """The segments of a sequence, in order; steps in none of them run without gradients.

    Args:
        config: kind and number of updates.
        steps: length of the sequence, at least 1.
    """
    if config.kind == "bptt":
        return [Segment(0, steps)]
    if config.kind in ("fptt-k", "tbptt", "eprop"):
        usual = 1 if config.kind == "eprop" else DEFAULT_SEGMENTS
        count = min(config.updates or usual, steps)
        bounds = [round(k * steps / count) for k in range(count + 1)]
        return [Segment(*pair) for pair in pairwise(bounds)]
    count = min(config.updates or steps, steps)
    ends = [round((k + 1) * steps / count) for k in range(count)]
    return [Segment(end - 1, end) for end in ends]
