"""Batch norm over the batches of all processes.

torch's `SyncBatchNorm` is for GPUs alone.
"""

from typing import cast

import torch
from torch import Tensor, nn

from training import processes


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d`, in training with mean and variance of the batch of all processes.

    Each of them has as many pictures. Takes over the parameters and statistics of another one.

    Args:
        norm: to stand in for.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] for [B, C, H, W]."""
        if not self.training:
            return super().forward(x)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = processes.mean(values.mean((0, 2, 3)))
        centred = values - mean[:, None, None]
        variance = processes.mean(centred.square().mean((0, 2, 3)))
        count = processes.count() * x.numel() // x.shape[1]
        self._keep(mean.detach(), variance.detach(), count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias[:, None, None], centred, scale[:, None, None]).to(x.dtype)

    def _keep(self, mean: Tensor, variance: Tensor, values: int) -> None:
        """Move the statistics of inference, as torch does: the variance without bias."""
        momentum = cast("float", self.momentum)
        cast("Tensor", self.running_mean).lerp_(mean, momentum)
        cast("Tensor", self.running_var).lerp_(variance * (values / (values - 1)), momentum)
        cast("Tensor", self.num_batches_tracked).add_(1)


def synchronise_batch_norm(model: nn.Module) -> None:
    """Let every batch norm of `model` look over all processes; nothing where there is one."""
    if processes.count() == 1:
        return
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.BatchNorm2d):
                setattr(parent, name, SynchronisedBatchNorm2d(module))
