"""The learning rules against numbers worked out by hand, and their exact special cases."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from training.config import LearnerConfig
from training.learning import DynamicRegulariser, Learner, Segment, segments

EXACT = LearnerConfig(alpha=0.5, beta=0.5, gradient_clip=0.0)


def learner(
    start: list[float], config: LearnerConfig, learning_rate: float = 0.1
) -> tuple[nn.Parameter, Learner]:
    weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    return weight, Learner([weight], torch.optim.SGD([weight], lr=learning_rate), config)


def update(weight: nn.Parameter, rule: Learner, gradient: list[float]) -> None:
    """One update whose task has this gradient."""
    slope = torch.tensor(gradient, dtype=torch.float64)
    rule.sequence(lambda t, state: (weight, state), lambda w, t: (w * slope).sum(), (), 1)


def drag(rule: Learner) -> DynamicRegulariser:
    assert rule.regulariser is not None
    return rule.regulariser


def close(tensor: Tensor, values: list[float]) -> bool:
    return tensor.tolist() == pytest.approx(values, abs=1e-12)


def test_two_updates_are_those_worked_out_by_hand() -> None:
    """SGD with rate 0.1, alpha = beta = 1/2, on two weights.

    Start:      W = (1, -2), Wbar = W, Lambda = 0.
    1st, gradient (2, -4): the penalty has none, so W = (1 - 0.2, -2 + 0.4) = (0.8, -1.6).
        Lambda = 0 - 0.5 (W - Wbar) = -0.5 (-0.2, 0.4) = (0.1, -0.2)
        Wbar   = 0.5 Wbar + 0.5 W - Lambda = (0.9, -1.8) - (0.1, -0.2) = (0.8, -1.6)
    2nd, gradient (1, 1): the penalty adds -Lambda + 0.5 (W - Wbar) = (-0.1, 0.2) + 0:
        total (0.9, 1.2), W = (0.8 - 0.09, -1.6 - 0.12) = (0.71, -1.72)
        Lambda = (0.1, -0.2) - 0.5 (-0.09, -0.12) = (0.145, -0.14)
        Wbar   = 0.5 (0.8, -1.6) + 0.5 (0.71, -1.72) - (0.145, -0.14) = (0.61, -1.52)
    """
    weight, fptt = learner([1.0, -2.0], EXACT)
    update(weight, fptt, [2.0, -4.0])
    assert close(weight, [0.8, -1.6])
    assert close(drag(fptt).multiplier[0], [0.1, -0.2])
    assert close(drag(fptt).running_mean[0], [0.8, -1.6])
    update(weight, fptt, [1.0, 1.0])
    assert close(weight, [0.71, -1.72])
    assert close(drag(fptt).multiplier[0], [0.145, -0.14])
    assert close(drag(fptt).running_mean[0], [0.61, -1.52])
    # -<W, Lambda> + alpha/2 ||W - Wbar||^2 = -(0.10295 + 0.2408) + 0.25 (0.01 + 0.04)
    assert drag(fptt).penalty().item() == pytest.approx(-0.34375 + 0.0125)


def test_beta_and_alpha_enter_the_running_mean() -> None:
    """beta = 1/4, alpha = 0.2: Lambda = -0.2 (-0.2) = 0.04; Wbar = 0.75 + 0.2 - 1.25 * 0.04."""
    weight, fptt = learner([1.0], LearnerConfig(alpha=0.2, beta=0.25, gradient_clip=0.0))
    update(weight, fptt, [2.0])
    assert close(weight, [0.8])
    assert close(drag(fptt).multiplier[0], [0.04])
    assert close(drag(fptt).running_mean[0], [0.9])


def test_penalty_and_its_gradient_vanish_at_the_start() -> None:
    weight, fptt = learner([3.0, -1.0], EXACT)
    assert drag(fptt).penalty().item() == 0
    update(weight, fptt, [0.0, 0.0])
    assert weight.tolist() == [3.0, -1.0]
    assert drag(fptt).running_mean[0].tolist() == [3.0, -1.0]
    assert drag(fptt).multiplier[0].tolist() == [0.0, 0.0]


def test_update_follows_the_gradient_of_the_stated_loss() -> None:
    """The penalty's gradient is that of the docstring's formula, by automatic differentiation."""
    weight, fptt = learner([1.0, -2.0, 0.5], EXACT, learning_rate=1.0)
    drag(fptt).running_mean[0].copy_(torch.tensor([0.3, -1.0, 0.7]))
    drag(fptt).multiplier[0].copy_(torch.tensor([0.2, 0.1, -0.4]))
    copy = weight.detach().clone().requires_grad_()
    loss = (
        (copy * torch.tensor([1.0, 2.0, 3.0])).sum()
        - (copy * drag(fptt).multiplier[0]).sum()
        + 0.25 * (copy - drag(fptt).running_mean[0]).square().sum()
    )
    (gradient,) = torch.autograd.grad(loss, copy)
    update(weight, fptt, [1.0, 2.0, 3.0])
    torch.testing.assert_close(weight.detach(), copy.detach() - gradient)


def test_clipping_limits_task_and_penalty_together() -> None:
    """Lambda = (-3, -4) alone has norm 5; clipped to 1 that is (0.6, 0.8)."""
    weight, fptt = learner([0.0, 0.0], LearnerConfig(alpha=0.5, gradient_clip=1.0), 1.0)
    drag(fptt).multiplier[0].copy_(torch.tensor([-3.0, -4.0]))
    update(weight, fptt, [0.0, 0.0])
    assert weight.tolist() == pytest.approx([-0.6, -0.8], abs=1e-5)


def test_plain_is_the_optimiser_alone() -> None:
    torch.manual_seed(0)
    mine, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(mine.state_dict())
    rule = Learner(
        mine.parameters(),
        torch.optim.Adagrad(mine.parameters(), lr=0.1),
        LearnerConfig(kind="plain", gradient_clip=0.0),
    )
    plain = torch.optim.Adagrad(other.parameters(), lr=0.1)
    for _ in range(3):
        x = torch.randn(4, 3)
        rule.sequence(lambda t, s, x=x: (mine(x), s), lambda y, t: y.square().sum(), (), 1)
        other(x).square().sum().backward()
        plain.step()
        plain.zero_grad()
    assert torch.equal(mine.weight, other.weight)
    assert rule.regulariser is None
    assert rule.state_dict() == {}
    before = mine.weight.detach().clone()
    rule.end_epoch()
    with rule.evaluated():
        assert torch.equal(mine.weight, before)


def test_gradients_are_consumed() -> None:
    weight, fptt = learner([1.0], EXACT)
    update(weight, fptt, [1.0])
    assert weight.grad is None


def test_parameter_without_gradient_still_feels_the_penalty() -> None:
    weight, fptt = learner([1.0], EXACT)
    drag(fptt).multiplier[0].fill_(2.0)
    other = nn.Parameter(torch.ones((), dtype=torch.float64))
    fptt.sequence(lambda t, state: (other, state), lambda y, t: y, (), 1)
    assert close(weight, [1.2])


def test_running_mean_is_swapped_in_and_out_and_adopted() -> None:
    weight, fptt = learner([1.0], EXACT)
    drag(fptt).running_mean[0].fill_(5.0)
    with fptt.evaluated():
        assert weight.item() == 5.0
    assert weight.item() == 1.0
    with pytest.raises(KeyError), fptt.evaluated():
        raise KeyError
    assert weight.item() == 1.0
    fptt.end_epoch()
    assert weight.item() == 5.0


def test_a_restored_learner_goes_on_the_same() -> None:
    weight, fptt = learner([1.0, 2.0], EXACT)
    update(weight, fptt, [1.0, -1.0])
    twin, other = learner(weight.tolist(), EXACT)
    other.load_state_dict(fptt.state_dict())
    for one, rule in ((weight, fptt), (twin, other)):
        update(one, rule, [0.5, 0.25])
    assert torch.equal(weight, twin)
    assert torch.equal(drag(fptt).running_mean[0], drag(other).running_mean[0])
    assert torch.equal(drag(fptt).multiplier[0], drag(other).multiplier[0])


def test_released_recipe_has_another_alpha_in_the_update() -> None:
    """SGD with rate 0.1, alpha = 0.1 in the penalty and 0.5 in the update, beta = 1/2.

    1st, gradient 2: W = 1 - 0.2 = 0.8; Lambda = -0.5 (-0.2) = 0.1;
        Wbar = 0.5 + 0.4 - 0.1 = 0.8.
    2nd, gradient 1: -Lambda + 0.1 (W - Wbar) = -0.1, W = 0.8 - 0.09 = 0.71;
        Lambda = 0.1 - 0.5 (-0.09) = 0.145; Wbar = 0.4 + 0.355 - 0.145 = 0.61.
    3rd, gradient 0: -0.145 + 0.1 (0.71 - 0.61) = -0.135, W = 0.7235.
    """
    config = LearnerConfig(alpha=0.1, update_alpha=0.5, gradient_clip=0.0)
    weight, fptt = learner([1.0], config)
    for gradient, expected in ((2.0, 0.8), (1.0, 0.71), (0.0, 0.7235)):
        update(weight, fptt, [gradient])
        assert close(weight, [expected])
    assert close(drag(fptt).multiplier[0], [0.145 - 0.5 * (0.7235 - 0.61)])


# --- segments -------------------------------------------------------------------------------


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
    ],
)
def test_segments_of_each_rule(
    kind: str, updates: int, steps: int, expected: list[tuple[int, int]]
) -> None:
    config = LearnerConfig(kind=kind, updates=updates)  # type: ignore[arg-type]
    assert segments(config, steps) == [Segment(*pair) for pair in expected]


def test_segments_are_in_order_and_end_with_the_last_step() -> None:
    for kind in ("plain", "fptt", "fptt-k", "tbptt", "bptt"):
        for steps in range(1, 30):
            for updates in range(31):
                config = LearnerConfig(kind=kind, updates=updates)  # type: ignore[arg-type]
                cuts = segments(config, steps)
                assert cuts[-1].stop == steps
                assert all(0 <= cut.start < cut.stop for cut in cuts)
                assert all(one.stop <= next_.start for one, next_ in pairwise(cuts))


# --- what the gradient sees -----------------------------------------------------------------


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


# --- what is observed -----------------------------------------------------------------------


def test_observation_is_the_ratio_of_the_two_gradients() -> None:
    weight, rule = learner([3.0, 4.0], EXACT)
    drag(rule).multiplier[0].copy_(torch.tensor([0.3, 0.4]))
    slope = torch.tensor([6.0, 8.0], dtype=torch.float64)
    seen = rule.sequence(
        lambda t, s: (weight, s), lambda w, t: (w * slope).sum(), (), 1, observe=True
    ).observation
    assert seen is not None
    assert seen.task_gradient.item() == pytest.approx(10)
    assert seen.penalty_gradient.item() == pytest.approx(0.5)
    # W = (3, 4) - 0.1 (5.7, 7.6), Wbar = (3, 4).
    assert seen.drift.item() == pytest.approx(0.95 / 4.05)
    plain_weight, plain = learner([3.0, 4.0], LearnerConfig(kind="plain"))
    quiet = plain.sequence(
        lambda t, s: (plain_weight, s), lambda w, t: w.sum(), (), 1, observe=True
    ).observation
    assert quiet is not None
    assert (quiet.penalty_gradient.item(), quiet.drift.item()) == (0, 0)


def test_the_penalty_is_the_drag_of_the_last_moves() -> None:
    """With beta = 1/2 and one rate, Wbar_t = W_t - Lambda_{t-1} / (2 alpha) (docs/fptt.md)."""
    generator = torch.Generator().manual_seed(0)
    weight, rule = learner([0.5, -1.0, 2.0], LearnerConfig(alpha=0.3, gradient_clip=0.0))
    for _ in range(20):
        before = drag(rule).multiplier[0].clone()
        update(weight, rule, torch.randn(3, generator=generator).tolist())
        torch.testing.assert_close(drag(rule).running_mean[0], weight.detach() - before / 0.6)


def test_a_state_of_another_rule_is_refused() -> None:
    _, fptt = learner([1.0], EXACT)
    _, plain = learner([1.0], LearnerConfig(kind="plain"))
    for one, other in ((fptt, plain), (plain, fptt)):
        with pytest.raises(ValueError, match="learning rule"):
            one.load_state_dict(other.state_dict())


def test_any_recurrent_module_learns() -> None:
    """The README's example: an LSTM learns to average what it saw."""
    torch.manual_seed(0)
    cell, out = nn.LSTMCell(2, 16), nn.Linear(16, 1)
    parameters = [*cell.parameters(), *out.parameters()]
    rule = Learner(
        parameters, torch.optim.Adam(parameters, 1e-2), LearnerConfig(kind="fptt-k", updates=4)
    )
    errors = []
    for _ in range(250):
        x = torch.rand(32, 8, 2)
        goal = x[:, :, 0].mean(1, keepdim=True)

        def step(
            t: int, state: tuple[Tensor, Tensor], x: Tensor = x
        ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            h, c = cell(x[:, t], state)
            return out(h), (h, c)

        def loss(y: Tensor, t: int, goal: Tensor = goal) -> Tensor:
            error = (y - goal).square().mean()
            if t == 7:  # the end of the sequence, where the goal can be known
                errors.append(error.item())
            return error

        rule.sequence(step, loss, (torch.zeros(32, 16), torch.zeros(32, 16)), 8)
    variance = 1 / 12 / 8
    assert sum(errors[-20:]) / 20 < 0.3 * variance
