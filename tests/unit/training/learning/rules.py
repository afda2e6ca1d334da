"""Learning rules of a few weights, which a test moves by hand."""

import pytest
import torch
from torch import Tensor, nn

from training.config import LearnerConfig
from training.learning import DynamicRegulariser, Learner

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
