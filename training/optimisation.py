"""Optimiser, learning-rate schedule and the exponential average of the parameters."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.config import OptimizerConfig
from training.muon import Muon


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser of what `model` wants trained; weight decay acts on kernels alone."""
    trained = [p for p in model.parameters() if p.requires_grad]
    kernels = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.name == "adagrad":
        return torch.optim.Adagrad(groups, lr=config.learning_rate)
    if config.name == "adam":
        return torch.optim.Adam(groups, lr=config.learning_rate)
    if config.name == "adamax":
        return torch.optim.Adamax(groups, lr=config.learning_rate)
    if config.name == "muon":
        outputs = {id(p) for name, p in model.named_parameters() if name.startswith("heads.")}
        hidden = [p for p in kernels if id(p) not in outputs]
        groups[0]["params"] = [p for p in kernels if id(p) in outputs]
        orthogonal = {"params": hidden, "weight_decay": config.weight_decay, "orthogonal": True}
        return Muon([orthogonal, *groups], config.learning_rate)
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)


def learning_rate(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Learning rate of batch `step` (from 0) out of `total_steps`."""
    peak = config.learning_rate
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return peak
    progress = (step - config.warmup_steps) / max(total_steps - config.warmup_steps, 1)
    progress = min(progress, 1.0)
    if config.schedule == "step":
        return float(
            peak * config.step_factor ** sum(progress >= share for share in config.step_at)
        )
    left = 1 - progress if config.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return peak * (config.final_share + (1 - config.final_share) * left)


class AveragedModel:
    """Exponential average of the parameters and batch-norm statistics of a model.

    The decay rises from 0 with the number of updates, min(decay, (1 + n) / (10 + n)), so that the
    random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        buffers = [b for b in model.buffers() if b.is_floating_point()]
        self.sources: list[Tensor] = [*(p.detach() for p in model.parameters()), *buffers]
        self.values = [source.clone() for source in self.sources] if decay > 0 else []

    @torch.no_grad()
    def update(self) -> None:
        """Take in the present values."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.values, self.sources, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {"values": self.values, "updates": self.updates}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of the same model."""
        for mine, saved in zip(self.values, state["values"], strict=True):
            mine.copy_(saved)
        self.updates = state["updates"]

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within the block the model has the averaged values."""
        with swapped(self.sources, self.values):
            yield


@contextmanager
def swapped(targets: list[Tensor], values: list[Tensor]) -> Iterator[None]:
    """Within the block `targets` hold `values`; what they held comes back after it."""
    kept = [target.clone() for target in targets]
    with torch.no_grad():
        for target, value in zip(targets, values, strict=True):
            target.copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for target, value in zip(targets, kept, strict=True):
                target.copy_(value)
