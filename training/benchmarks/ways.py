"""Ways to train a detector that are compared with each other."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Way(NamedTuple):
    """A way to train.

    Attributes:
        settings: what differs from the recipe `nano`.
        taught: whether a teacher is listened to.
        twin_share: share of the time in which the network is its non-spiking twin.
    """

    settings: Mapping[str, Any]
    taught: bool = False
    twin_share: float = 0.0


def _rule(**learner: Any) -> Way:
    """All rules learn from every read, of four."""
    every = {"updates": 0, "loss_at": "every", "adopt_running_mean": False} | learner
    return Way({"reads": 4, "min_reads": 0, "learner": every})


COMPARISONS: dict[str, dict[str, Way]] = {
    # The strengths of FPTT are those where the penalty's gradient is about a tenth of the task's,
    # and about as large.
    "learners": {
        "plain": _rule(kind="plain"),
        "fptt, alpha 0.1": _rule(kind="fptt", alpha=0.1),
        "fptt, alpha 2": _rule(kind="fptt", alpha=2.0),
        "fptt-k, 2 segments, alpha 0.1": _rule(kind="fptt-k", updates=2, alpha=0.1),
        "tbptt, 2 segments": _rule(kind="tbptt", updates=2),
        "bptt": _rule(kind="bptt"),
    },
    "starts": {
        "from nothing": Way({}),
        "from nothing, with a teacher": Way({}, taught=True),
        "from its twin": Way({}, twin_share=0.5),
        "from its twin, with a teacher": Way({}, taught=True, twin_share=0.5),
    },
}
WAYS = {name: way for comparison in COMPARISONS.values() for name, way in comparison.items()}
