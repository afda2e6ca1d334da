"""FPTT against numbers worked out by hand, and its exact special cases."""

import pytest
import torch
from torch import Tensor, nn

from spyv4.config import from_mapping
from training.config import RECIPES, FPTTConfig
from training.learners.fptt import FPTT

EXACT = FPTTConfig(alpha=0.5, beta=0.5, gradient_clip=0)


def learner(
    start: list[float], config: FPTTConfig, learning_rate: float = 0.1
) -> tuple[nn.Parameter, FPTT]:
    weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    return weight, FPTT([weight], torch.optim.SGD([weight], lr=learning_rate), config)


def update(weight: nn.Parameter, fptt: FPTT, gradient: list[float]) -> None:
    weight.grad = torch.tensor(gradient, dtype=torch.float64)
    fptt.update()


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
    assert close(fptt.multiplier[0], [0.1, -0.2])
    assert close(fptt.running_mean[0], [0.8, -1.6])
    update(weight, fptt, [1.0, 1.0])
    assert close(weight, [0.71, -1.72])
    assert close(fptt.multiplier[0], [0.145, -0.14])
    assert close(fptt.running_mean[0], [0.61, -1.52])
    # -<W, Lambda> + alpha/2 ||W - Wbar||^2 = -(0.10295 + 0.2408) + 0.25 (0.01 + 0.04)
    assert fptt.penalty().item() == pytest.approx(-0.34375 + 0.0125)


def test_beta_and_alpha_enter_the_running_mean() -> None:
    """beta = 1/4, alpha = 0.2: Lambda = -0.2 (-0.2) = 0.04; Wbar = 0.75 + 0.2 - 1.25 * 0.04."""
    weight, fptt = learner([1.0], FPTTConfig(alpha=0.2, beta=0.25, gradient_clip=0))
    update(weight, fptt, [2.0])
    assert close(weight, [0.8])
    assert close(fptt.multiplier[0], [0.04])
    assert close(fptt.running_mean[0], [0.9])


def test_penalty_and_its_gradient_vanish_at_the_start() -> None:
    weight, fptt = learner([3.0, -1.0], EXACT)
    assert fptt.penalty().item() == 0
    update(weight, fptt, [0.0, 0.0])
    assert weight.tolist() == [3.0, -1.0]
    assert fptt.running_mean[0].tolist() == [3.0, -1.0]
    assert fptt.multiplier[0].tolist() == [0.0, 0.0]


def test_update_follows_the_gradient_of_the_stated_loss() -> None:
    """The penalty's gradient is that of the docstring's formula, by automatic differentiation."""
    weight, fptt = learner([1.0, -2.0, 0.5], EXACT, learning_rate=1.0)
    fptt.running_mean[0].copy_(torch.tensor([0.3, -1.0, 0.7]))
    fptt.multiplier[0].copy_(torch.tensor([0.2, 0.1, -0.4]))
    copy = weight.detach().clone().requires_grad_()
    loss = (
        (copy * torch.tensor([1.0, 2.0, 3.0])).sum()
        - (copy * fptt.multiplier[0]).sum()
        + 0.25 * (copy - fptt.running_mean[0]).square().sum()
    )
    (gradient,) = torch.autograd.grad(loss, copy)
    update(weight, fptt, [1.0, 2.0, 3.0])
    torch.testing.assert_close(weight.detach(), copy.detach() - gradient)


def test_clipping_limits_task_and_penalty_together() -> None:
    """Lambda = (-3, -4) alone has norm 5; clipped to 1 that is (0.6, 0.8)."""
    weight, fptt = learner([0.0, 0.0], FPTTConfig(alpha=0.5, gradient_clip=1.0), 1.0)
    fptt.multiplier[0].copy_(torch.tensor([-3.0, -4.0]))
    update(weight, fptt, [0.0, 0.0])
    assert weight.tolist() == pytest.approx([-0.6, -0.8], abs=1e-5)


def test_alpha_zero_is_the_plain_optimiser() -> None:
    torch.manual_seed(0)
    mine, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(mine.state_dict())
    fptt = FPTT(
        mine.parameters(),
        torch.optim.Adagrad(mine.parameters(), lr=0.1),
        FPTTConfig(alpha=0.0, gradient_clip=0),
    )
    plain = torch.optim.Adagrad(other.parameters(), lr=0.1)
    for _ in range(3):
        x = torch.randn(4, 3)
        mine(x).square().sum().backward()
        fptt.update()
        other(x).square().sum().backward()
        plain.step()
        plain.zero_grad()
    assert torch.equal(mine.weight, other.weight)
    assert fptt.running_mean == []
    assert fptt.penalty().item() == 0
    before = mine.weight.detach().clone()
    fptt.adopt_running_mean()
    with fptt.running_mean_swapped_in():
        assert torch.equal(mine.weight, before)


def test_gradients_are_consumed() -> None:
    weight, fptt = learner([1.0], EXACT)
    update(weight, fptt, [1.0])
    assert weight.grad is None


def test_parameter_without_gradient_still_feels_the_penalty() -> None:
    weight, fptt = learner([1.0], EXACT)
    fptt.multiplier[0].fill_(2.0)
    fptt.update()
    assert close(weight, [1.2])


def test_running_mean_is_swapped_in_and_out_and_adopted() -> None:
    weight, fptt = learner([1.0], EXACT)
    fptt.running_mean[0].fill_(5.0)
    with fptt.running_mean_swapped_in():
        assert weight.item() == 5.0
    assert weight.item() == 1.0
    with pytest.raises(KeyError), fptt.running_mean_swapped_in():
        raise KeyError
    assert weight.item() == 1.0
    fptt.adopt_running_mean()
    assert weight.item() == 5.0


def test_a_restored_learner_goes_on_the_same() -> None:
    weight, fptt = learner([1.0, 2.0], EXACT)
    update(weight, fptt, [1.0, -1.0])
    twin, other = learner(weight.tolist(), EXACT)
    other.load_state_dict(fptt.state_dict())
    for one, rule in ((weight, fptt), (twin, other)):
        update(one, rule, [0.5, 0.25])
    assert torch.equal(weight, twin)
    assert torch.equal(fptt.running_mean[0], other.running_mean[0])
    assert torch.equal(fptt.multiplier[0], other.multiplier[0])


def test_released_recipe_has_another_alpha_in_the_update() -> None:
    """SGD with rate 0.1, alpha = 0.1 in the penalty and 0.5 in the update, beta = 1/2.

    1st, gradient 2: W = 1 - 0.2 = 0.8; Lambda = -0.5 (-0.2) = 0.1;
        Wbar = 0.5 + 0.4 - 0.1 = 0.8.
    2nd, gradient 1: -Lambda + 0.1 (W - Wbar) = -0.1, W = 0.8 - 0.09 = 0.71;
        Lambda = 0.1 - 0.5 (-0.09) = 0.145; Wbar = 0.4 + 0.355 - 0.145 = 0.61.
    3rd, gradient 0: -0.145 + 0.1 (0.71 - 0.61) = -0.135, W = 0.7235.
    """
    config = from_mapping(FPTTConfig, RECIPES["released"]["fptt"] | {"gradient_clip": 0.0})
    weight, fptt = learner([1.0], config)
    for gradient, expected in ((2.0, 0.8), (1.0, 0.71), (0.0, 0.7235)):
        update(weight, fptt, [gradient])
        assert close(weight, [expected])
    assert close(fptt.multiplier[0], [0.145 - 0.5 * (0.7235 - 0.61)])
