"""Puts kernels of Triton into a network that runs on a GPU."""

import importlib.util

import torch

from spyv4.network.spyv4 import SPYv4
from spyv4.neurons import LTC

LEAST_CAPABILITY = (7, 0)
"""Of a GPU that Triton compiles for: Volta."""


def has_triton(device: torch.device) -> bool:
    """Whether Triton is installed and compiles for a GPU."""
    if importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= LEAST_CAPABILITY


def fuse_neurons(model: SPYv4, device: torch.device) -> bool:
    """Replace the LTC neurons of a network by fused ones, in place; others stay as they are.

    Args:
        model: on `device`, for inference alone from here on.
        device: a CUDA GPU.

    Returns:
        Whether that is all as it should be: False where there is no Triton for it, and the LTC
        neurons stay as they are.
    """
    layers = [layer for layer in model.spiking.values() if isinstance(layer.neuron, LTC)]
    if not layers:
        return True
    if not has_triton(device):
        return False
    from spyv4.neurons.ltc_triton import FusedLTC

    for layer in layers:
        layer.neuron = FusedLTC(layer.neuron)  # type: ignore[arg-type]
    return True
