"""The learner of a configuration."""

import torch
from torch import nn

from training.config import LearnerConfig
from training.learning.eprop import EProp
from training.learning.learner import Learner


def build_learner(
    network: nn.Module, optimizer: torch.optim.Optimizer, config: LearnerConfig
) -> Learner:
    """What trains a network by the rule of `config`.

    Args:
        network: all of its parameters are trained.
        optimizer: of these parameters; steps once a segment.
        config: the rule.

    Raises:
        ConfigError: if the rule is `eprop` and the network has layers that it does not know.
    """
    if config.kind == "eprop":
        return EProp(network, optimizer, config)
    return Learner(network.parameters(), optimizer, config)
