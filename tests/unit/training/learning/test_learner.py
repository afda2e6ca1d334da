"""What every learning rule does with parameters, gradients and its own state."""

import pytest
import torch
from torch import Tensor, nn

from tests.unit.training.learning.rules import EXACT, drag, learner, update
from training.config import LearnerConfig
from training.learning import Learner


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


def test_a_state_of_another_rule_is_refused() -> None:
    _, fptt = learner([1.0], EXACT)
    _, plain = learner([1.0], LearnerConfig(kind="plain"))
    for one, other in ((fptt, plain), (plain, fptt)):
        with pytest.raises(ValueError, match="learning rule"):
            one.load_state_dict(other.state_dict())


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
