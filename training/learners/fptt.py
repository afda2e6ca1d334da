"""Forward Propagation Through Time (reference section 3; paper equations 1a to 1c).

FPTT trains on every read by itself: the state that comes in is a constant, so that one small
backward pass a read is all, and memory does not grow with the number of reads. What binds the
reads together is a regulariser that pulls each parameter W towards its running mean Wbar:

    loss_t = task_loss_t + sum[ -<W, Lambda> + (alpha / 2) ||W - Wbar||^2 ]
    one optimiser step on loss_t
    Lambda <- Lambda - alpha (W - Wbar)
    Wbar   <- (1 - beta) Wbar + beta W - (beta / alpha) Lambda
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from training.config import FPTTConfig
from training.optimisation import swapped


class FPTT:
    """Running means and multipliers of a set of parameters.

    Without the regulariser (`alpha == 0`) an update is a plain optimiser step and there is no
    running mean.

    Args:
        parameters: what is trained.
        optimizer: steps once a read.
        config: alpha, beta and the gradient-norm limit.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        config: FPTTConfig,
    ) -> None:
        self.parameters: list[Tensor] = list(parameters)
        self.optimizer = optimizer
        self.config = config
        regularised = self.parameters if config.alpha > 0 else []
        self.running_mean = [p.detach().clone() for p in regularised]
        self.multiplier = [torch.zeros_like(p) for p in regularised]

    @torch.no_grad()
    def update(self) -> None:
        """One FPTT step from the gradients of the task loss, which are consumed."""
        self._add_penalty_gradients()
        if self.config.gradient_clip > 0:
            nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_running_mean()

    def _add_penalty_gradients(self) -> None:
        """Gradient of the penalty: -Lambda + alpha (W - Wbar)."""
        if not self.running_mean:
            return
        gradients = []
        for weight in self.parameters:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            gradients.append(weight.grad)
        distance = torch._foreach_sub(self.parameters, self.running_mean)
        torch._foreach_sub_(gradients, self.multiplier)
        torch._foreach_add_(gradients, distance, alpha=self.config.alpha)

    def _update_running_mean(self) -> None:
        if not self.running_mean:
            return
        alpha, beta = self.config.update_alpha or self.config.alpha, self.config.beta
        distance = torch._foreach_sub(self.parameters, self.running_mean)
        torch._foreach_sub_(self.multiplier, distance, alpha=alpha)
        torch._foreach_lerp_(self.running_mean, self.parameters, beta)
        torch._foreach_sub_(self.running_mean, self.multiplier, alpha=beta / alpha)

    def _regularised(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        if not self.running_mean:
            return iter(())
        return zip(self.parameters, self.running_mean, self.multiplier, strict=True)

    @torch.no_grad()
    def penalty(self) -> Tensor:
        """Value of the regulariser; 0 where W = Wbar and Lambda = 0."""
        total = self.parameters[0].new_zeros(())
        for weight, mean, multiplier in self._regularised():
            total = total - (weight * multiplier).sum()
            total = total + self.config.alpha / 2 * (weight - mean).square().sum()
        return total

    @torch.no_grad()
    def adopt_running_mean(self) -> None:
        """W <- Wbar, as the authors do at the end of every epoch."""
        for weight, mean, _ in self._regularised():
            weight.copy_(mean)

    @contextmanager
    def running_mean_swapped_in(self) -> Iterator[None]:
        """Within the block the parameters are Wbar, which is what is evaluated."""
        regularised = [weight.detach() for weight, _, _ in self._regularised()]
        with swapped(regularised, self.running_mean):
            yield

    def state_dict(self) -> dict[str, Any]:
        """What resuming needs."""
        return {"running_mean": self.running_mean, "multiplier": self.multiplier}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()` of the same parameters."""
        for mine, saved in (
            (self.running_mean, state["running_mean"]),
            (self.multiplier, state["multiplier"]),
        ):
            for old, new in zip(mine, saved, strict=True):
                old.copy_(new)


def update_reads(reads: int, updates: int) -> frozenset[int]:
    """Which reads (from 0) update the parameters: all, or `updates` spread evenly (FPTT-K)."""
    if updates == 0 or updates >= reads:
        return frozenset(range(reads))
    return frozenset(round((k + 1) * reads / updates) - 1 for k in range(updates))
