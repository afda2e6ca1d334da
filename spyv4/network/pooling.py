"""Max-pooling for training."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_SIDE = [2, 2]


def _pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Largest of every 2 x 2 places, and which it is."""
    pooled, places = torch.ops.aten.max_pool2d_with_indices(x, _SIDE, _SIDE)
    return pooled, places


def _spread(gradient: Tensor, x: Tensor, places: Tensor) -> Tensor:
    """Gradient of `x`."""
    window = (_SIDE, _SIDE, [0, 0], [1, 1], False)
    spread: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(gradient, x, *window, places)
    return spread


# Opaque to compilers, which else write their own.
_opaque_pool = torch.library.custom_op("spyv4::max_pool_2x2", _pool, mutates_args=())
_opaque_spread = torch.library.custom_op("spyv4::max_pool_2x2_backward", _spread, mutates_args=())
_opaque_pool.register_fake(_pool)
_opaque_spread.register_fake(_spread)


def _keep(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], output[1])


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
    gradient_of_x: Tensor = _opaque_spread(gradient, *ctx.saved_tensors)
    return gradient_of_x


_opaque_pool.register_autograd(_backward, setup_context=_keep)


def max_pool_2x2(x: Tensor) -> Tensor:
    """Largest of every 2 x 2 places, [B, C, H / 2, W / 2] for [B, C, H, W], H and W even.

    Values and gradients are those of `torch.nn.functional.max_pool2d`. Its backward pass, compiled
    for a CPU, is a loop over single numbers, a seventh of a step of the twin's training; so where
    there will be one, both passes are left to torch's own kernels.
    """
    if x.is_cpu and torch.is_grad_enabled() and x.requires_grad:
        pooled: Tensor = _opaque_pool(x)[0]
        return pooled
    return functional.max_pool2d(x, 2)
