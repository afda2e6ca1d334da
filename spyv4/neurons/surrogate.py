"""The spike function and its multi-Gaussian surrogate gradient (reference section 2)."""

import math
from typing import Any

import torch
from torch import Tensor

from spyv4.config import NeuronConfig


def multi_gaussian(x: Tensor, gamma: float, h: float, sigma: float, scale: float) -> Tensor:
    """Surrogate derivative of the spike with respect to the potential.

    With N(x; m, s) the normal density:

        gamma * [(1 + h) N(x; 0, sigma) - h N(x; sigma, scale sigma) - h N(x; -sigma, scale sigma)]

    Args:
        x: distance of the potential from the threshold, any shape.
        gamma: overall height.
        h: share of the side lobes.
        sigma: width of the central lobe.
        scale: width of the side lobes relative to the central one.

    Returns:
        The derivative, of the shape of `x`.
    """
    side = scale * sigma
    centre = _normal_density(x, sigma)
    lobes = _normal_density(x - sigma, side) + _normal_density(x + sigma, side)
    return gamma * ((1 + h) * centre - h * lobes)


def _normal_density(x: Tensor, sigma: float) -> Tensor:
    return torch.exp(x * x * (-0.5 / sigma**2)) * (1 / (sigma * math.sqrt(2 * math.pi)))


def _above_zero(x: Tensor) -> Tensor:
    """1 where x > 0, else 0.

    Not a cast of the mask, but in ONNX files: compiled to bfloat16, that is a loop over single
    numbers, which took a sixth of a read.
    """
    if torch.onnx.is_in_onnx_export():
        return (x > 0).to(x.dtype)
    return torch.where(x > 0, x.new_ones(()), x.new_zeros(()))


class _Spike(torch.autograd.Function):
    """Heaviside step forward, multi-Gaussian backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: float, h: float, sigma: float, scale: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.shape = (gamma, h, sigma, scale)
        return _above_zero(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        return gradients[0] * multi_gaussian(x, *ctx.shape), None, None, None, None


def spike(u: Tensor, threshold: float | Tensor, config: NeuronConfig) -> Tensor:
    """1 where `u` is above `threshold`, else 0; differentiable through the surrogate.

    Args:
        u: membrane potential, any shape.
        threshold: one number, or a tensor that broadcasts to `u`.
        config: supplies the surrogate's shape.

    Returns:
        Spikes in {0, 1}, of the shape and dtype of `u`.
    """
    distance = u - threshold
    if not torch.is_grad_enabled():
        return _above_zero(distance)
    spikes: Tensor = _Spike.apply(  # type: ignore[no-untyped-call]
        distance,
        config.surrogate_gamma,
        config.surrogate_h,
        config.surrogate_sigma,
        config.surrogate_scale,
    )
    return spikes


POSITIVE_SPAN = 1.5
"""Unit of `spike_from_rest`. Surrogates are positive up to 0.75 of their unit below the threshold
(at their default shape), where rest, 1 / 1.5 below, is then still inside: neurons in physical units
stay near rest until they fire."""


def spike_from_rest(u: Tensor, rest: float, threshold: float, config: NeuronConfig) -> Tensor:
    """`spike` of a potential in a unit of its own, whose surrogate is as wide as its way to fire.

    The surrogate sees (u - threshold) / (1.5 (threshold - rest)).

    Args:
        u: membrane potential in mV, any shape.
        rest: in mV.
        threshold: in mV, above `rest`.
        config: supplies the surrogate's shape.

    Returns:
        Spikes in {0, 1}, of the shape and dtype of `u`.
    """
    return spike((u - threshold) / (POSITIVE_SPAN * (threshold - rest)), 0.0, config)
