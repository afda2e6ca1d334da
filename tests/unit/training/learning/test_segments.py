"""How rules cut a sequence, and through how many of its steps the gradient goes."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from training.config import LearnerConfig
from training.learning import Learner, Segment, segments


@pytest.mark.parametrize(
    ("kind", "updates", "steps", "expected"),
    [
        ("plain", 0, 3, [(0, 1), (1, 2), (2, 3)]),
        ("fptt", 9, 2, [(0, 1), (1, 2)]),
        ("plain", 1, 4, [(3, 4)]),
        ("fptt", 2, 8, [(3, 4), (7, 8)]),
        ("bptt", 0, 5, [(0, 5)]),
        ("fptt-k", 2, 8, [(0, 4), (4, 8)]),
        ("tbptt", 3, 7, [(0, 2), (2, 5), (5, 7)]),
        ("fptt-k", 0, 200, [(k * 20, k * 20 + 20) for k in range(10)]),
        ("fptt-k", 0, 4, [(0, 1), (1, 2), (2, 3), (3, 4)]),
        ("eprop", 0, 5, [(0, 5)]),
        ("eprop", 2, 7, [(0, 4), (4, 7)]),
    ],
)
def test_segments_of_each_rule(
    kind: str, updates: int, steps: int, expected: list[tuple[int, int]]
) -> None:
    config = LearnerConfig(kind=kind, updates=updates)  # type: ignore[arg-type]
    assert segments(config, steps) == [Segment(*pair) for pair in expected]


def test_segments_are_in_order_and_end_with_the_last_step() -> None:
    for kind in ("plain", "fptt", "fptt-k", "tbptt", "bptt", "eprop"):
        for steps in range(1, 30):
            for updates in range(31):
                config = LearnerConfig(kind=kind, updates=updates)  # type: ignore[arg-type]
                cuts = segments(config, steps)
                assert cuts[-1].stop == steps
                assert all(0 <= cut.start < cut.stop for cut in cuts)
                assert all(one.stop <= next_.start for one, next_ in pairwise(cuts))


class Chain:
    """h_t = w h_{t-1} + 1, loss h_t: the gradient tells through how many steps it went.

    From h_0 = 1 with w = 2: h = 3, 7, 15, 31. dh_t/dw through all steps: 1, 5, 17, 49; through the
    last step alone: h_{t-1}.
    """

    def __init__(self, kind: str, updates: int = 0, loss_at: str = "end") -> None:
        self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.gradients: list[float] = []
        optimizer = torch.optim.SGD([self.weight], lr=1e-300)
        optimizer.register_step_pre_hook(self._keep)
        config = LearnerConfig(
            kind=kind,  # type: ignore[arg-type]
            updates=updates,
            loss_at=loss_at,  # type: ignore[arg-type]
            gradient_clip=0.0,
        )
        self.rule = Learner([self.weight], optimizer, config)

    def _keep(self, *_: object) -> None:
        assert self.weight.grad is not None
        self.gradients.append(self.weight.grad.item())

    def learn(self, steps: int) -> list[float]:
        def step(t: int, h: Tensor) -> tuple[Tensor, Tensor]:
            after = self.weight * h + 1
            return after, after

        start = torch.ones((), dtype=torch.float64)
        learned = self.rule.sequence(step, lambda h, t: h, start, steps)
        assert learned.state.item() == 2 ** (steps + 1) - 1
        assert not learned.state.requires_grad
        return self.gradients


@pytest.mark.parametrize("kind", ["plain", "fptt"])
def test_gradients_do_not_cross_reads(kind: str) -> None:
    assert Chain(kind).learn(4) == [1, 3, 7, 15]


def test_reads_that_do_not_learn_leave_no_gradient() -> None:
    assert Chain("plain", updates=2).learn(4) == [3, 15]


def test_back_propagation_through_time_sees_all_reads() -> None:
    assert Chain("bptt").learn(4) == [49]
    assert Chain("bptt", loss_at="every").learn(4) == [(1 + 5 + 17 + 49) / 4]


@pytest.mark.parametrize("kind", ["tbptt", "fptt-k"])
def test_segments_go_back_through_their_own_reads_alone(kind: str) -> None:
    # Second segment: h_2 = 7 is constant; h_3 = 15, dh_3 = 7; h_4: 15 + 2 * 7 = 29.
    assert Chain(kind, updates=2).learn(4) == [5, 29]
    assert Chain(kind, updates=2, loss_at="every").learn(4) == [(1 + 5) / 2, (7 + 29) / 2]
