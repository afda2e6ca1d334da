"""FPTT's regulariser against numbers worked out by hand, and against its closed form."""

import pytest
import torch
from torch import nn

from tests.unit.training.learning.rules import EXACT, close, drag, learner, update
from training.config import LearnerConfig


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


def test_the_penalty_is_the_drag_of_the_last_moves() -> None:
    """Its closed form for beta = 1/2 and one alpha, from the moves of the weights alone.

    Lambda_t = Lambda_{t-1} - Lambda_{t-2} / 2 - alpha (W_t - W_{t-1})
    Wbar_t   = W_t - Lambda_{t-1} / (2 alpha)
    penalty  = -<W, Lambda_t> + ||Lambda_{t-1}||^2 / (8 alpha), pull -Lambda_t + Lambda_{t-1} / 2
    """
    alpha, generator = 0.3, torch.Generator().manual_seed(0)
    weight, fptt = learner([0.5, -1.0, 2.0], LearnerConfig(alpha=alpha, gradient_clip=0.0))
    regulariser, earlier, last = drag(fptt), torch.zeros(3), torch.zeros(3)
    for _ in range(20):
        before = weight.detach().clone()
        update(weight, fptt, torch.randn(3, generator=generator).tolist())
        now = weight.detach()
        earlier, last = last, last - earlier / 2 - alpha * (now - before)
        torch.testing.assert_close(regulariser.multiplier[0], last)
        torch.testing.assert_close(regulariser.running_mean[0], now - earlier / (2 * alpha))
        torch.testing.assert_close(regulariser.gradients()[0], earlier / 2 - last)
        size = -(now * last).sum() + earlier.square().sum() / (8 * alpha)
        torch.testing.assert_close(regulariser.penalty(), size)


def test_clipping_limits_task_and_penalty_together() -> None:
    """Lambda = (-3, -4) alone has norm 5; clipped to 1 that is (0.6, 0.8)."""
    weight, fptt = learner([0.0, 0.0], LearnerConfig(alpha=0.5, gradient_clip=1.0), 1.0)
    drag(fptt).multiplier[0].copy_(torch.tensor([-3.0, -4.0]))
    update(weight, fptt, [0.0, 0.0])
    assert weight.tolist() == pytest.approx([-0.6, -0.8], abs=1e-5)


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
