"""FPTT's dynamic regulariser (reference section 3; paper equations 1a to 1c).

    loss_t = task_loss_t + sum[ -<W, Lambda> + (alpha / 2) ||W - Wbar||^2 ]
    one optimiser step on loss_t
    Lambda <- Lambda - alpha (W - Wbar)
    Wbar   <- (1 - beta) Wbar + beta W - (beta / alpha) Lambda

With beta = 1/2 this is Wbar_t = W_t - Lambda_{t-1} / (2 alpha), a drag on the last moves of W that
is forgotten within a few updates; docs/fptt.md derives and measures it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from training.config import LearnerConfig
from training.optimisation import swapped


class DynamicRegulariser:
    """Running means Wbar and multipliers Lambda of a set of parameters.

    Args:
        parameters: what is trained; Wbar starts there.
        config: alpha and beta.
    """

    def __init__(self, parameters: list[Tensor], config: LearnerConfig) -> None:
        self.parameters = parameters
        self.alpha, self.beta = config.alpha, config.beta
        self.update_alpha = config.update_alpha or config.alpha
        self.running_mean = [p.detach().clone() for p in parameters]
        self.multiplier = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def penalty(self) -> Tensor:
        """Value of the regulariser, a scalar; 0 where W = Wbar and Lambda = 0."""
        total = self.parameters[0].new_zeros(())
        for weight, mean, multiplier in zip(
            self.parameters, self.running_mean, self.multiplier, strict=True
        ):
            total = total - (weight * multiplier).sum()
            total = total + self.alpha / 2 * (weight - mean).square().sum()
        return total

    @torch.no_grad()
    def gradients(self) -> list[Tensor]:
        """Gradient of the regulariser by parameter: -Lambda + alpha (W - Wbar)."""
        drag = list(torch._foreach_sub(self.parameters, self.running_mean))
        torch._foreach_mul_(drag, self.alpha)
        torch._foreach_sub_(drag, self.multiplier)
        return drag

    @torch.no_grad()
    def update(self) -> None:
        """Move Lambda and Wbar after an optimiser step."""
        distance = torch._foreach_sub(self.parameters, self.running_mean)
        torch._foreach_sub_(self.multiplier, distance, alpha=self.update_alpha)
        torch._foreach_lerp_(self.running_mean, self.parameters, self.beta)
        ratio = self.beta / self.update_alpha
        torch._foreach_sub_(self.running_mean, self.multiplier, alpha=ratio)

    @torch.no_grad()
    def drift(self) -> Tensor:
        """||W - Wbar|| / ||W||, a scalar."""
        distance = list(torch._foreach_sub(self.parameters, self.running_mean))
        return norm(distance) / norm(self.parameters)

    @torch.no_grad()
    def adopt(self) -> None:
        """W <- Wbar, as the authors do at the end of every epoch."""
        torch._foreach_copy_(self.parameters, self.running_mean)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within the block the parameters are Wbar, which is what is evaluated."""
        with swapped(self.parameters, self.running_mean):
            yield

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {"running_mean": self.running_mean, "multiplier": self.multiplier}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of the same parameters."""
        for mine, saved in (
            (self.running_mean, state["running_mean"]),
            (self.multiplier, state["multiplier"]),
        ):
            for old, new in zip(mine, saved, strict=True):
                old.copy_(new)


def norm(tensors: list[Tensor]) -> Tensor:
    """Euclidean norm of all values together, a scalar."""
    total: Tensor = torch.stack(torch._foreach_norm(tensors)).norm()
    return total
