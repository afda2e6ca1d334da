"""The learner of a configuration."""

import torch
from torch import nn

from training.config import LearnerConfig
from training.learning.learner import Learner


def build_learner(
    network: nn.Module, optimizer: torch.optim.Optimizer, config: LearnerConfig
) -> Learner:
    """What trains a network by the rule of `config`.

    Args:
        network: all of its parameters are trained.
        optimizer: of these parameters; steps once a segment.
        config: the rule.
    """
    return Learner(network.parameters(), optimizer, config)
