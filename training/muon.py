"""Muon: momentum, orthogonalised, for the kernels of hidden layers; AdamW for the rest.

Jordan 2024, Muon: an optimizer for hidden layers in neural networks. With the step's size that Liu
et al. 2025 (arXiv 2502.16982) give it, as large as AdamW's, the same learning rates fit both.

torch has it for matrices alone, one at a time; kernels of one shape are a batch here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor

MOMENTUM = 0.95
ADAMW_RMS = 0.2
"""What the values of a step of AdamW amount to, in learning rates: root of the mean square."""
_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """AdamW, but for the groups that say `"orthogonal": True`.

    Their parameters W are matrices [O, inputs], kernels [O, C, h, w] with inputs = C h w:

        M <- 0.95 M + 0.05 G
        W <- W - lr (decay W + 0.2 sqrt(max(O, inputs)) orthogonal(0.05 G + 0.95 M))

    Args:
        groups: of parameters.
        lr: learning rate.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(
            [{"orthogonal": False} | group for group in groups], lr, betas=(0.9, 0.99), fused=True
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the gradients of what is orthogonalised are gone afterwards."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in (group for group in self.param_groups if group["orthogonal"]):
            alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                self._step(parameters, group["lr"], group["weight_decay"])
        super().step()
        return loss

    def _step(self, parameters: list[Tensor], rate: float, decay: float) -> None:
        """Of parameters of one shape."""
        wanted = []
        for parameter in parameters:
            gradient, state = cast("Tensor", parameter.grad), self.state[parameter]
            if not state:  # AdamW looks for a step when a state is loaded
                state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(parameter)}
            momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            wanted.append(gradient.lerp(momentum, MOMENTUM).flatten(1))
            parameter.grad = None  # nothing for AdamW
        updates = orthogonal(torch.stack(wanted)).to(parameters[0].dtype)
        size = ADAMW_RMS * max(updates.shape[1:]) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - rate * decay).sub_(update.view(parameter.shape), alpha=rate * size)


def orthogonal(matrices: Tensor) -> Tensor:
    """The same singular vectors, all singular values near 1, by Newton-Schulz iterations.

    Args:
        matrices: [N, rows, columns].

    Returns:
        Of the same shape, in bfloat16; singular values between about 0.7 and 1.2.
    """
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
