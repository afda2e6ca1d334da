"""Firing rates and spike rasters; opt-in, computed where the spikes are."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spyv4.network.spyv4 import Spikes

RASTER_NEURONS = 128
_SEED = 8


class Activity(NamedTuple):
    """Activity of one read.

    Attributes:
        firing_rates: share of neurons that spiked, [B, layers].
        rasters: spikes of the sampled neurons, [B, layers, 128]; layers with fewer neurons are
            padded with zeros.
    """

    firing_rates: Tensor
    rasters: Tensor


def summarise(spikes: Spikes) -> Activity:
    """Firing rates and rasters of all layers, shallow to deep.

    Args:
        spikes: of one read of B pictures.
    """
    rates, rasters = [], []
    for layer, tensor in enumerate(spikes.values()):
        rates.append((tensor > 0).float().mean(dim=(1, 2, 3)))  # the twin has values, not spikes
        channel, row, column = _indices(layer, tensor)
        rows = (tensor[:, channel, row, column] > 0).float()
        rasters.append(torch.nn.functional.pad(rows, (0, RASTER_NEURONS - rows.shape[1])))
    return Activity(torch.stack(rates, dim=1), torch.stack(rasters, dim=1))


def _indices(layer: int, spikes: Tensor) -> tuple[Any, Any, Any]:
    """Where the sampled neurons are in the spikes of a layer."""
    if torch.compiler.is_compiling():  # lists are constants to the compiler
        channel, row, column = sampled_neurons(layer, *spikes.shape[1:])
        return channel, row, column
    return _index_tensors(layer, tuple(spikes.shape[1:]), spikes.device)


@lru_cache(maxsize=256)
def _index_tensors(
    layer: int, shape: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Made once: turning lists into tensors costs as much as the sampling."""
    channel, row, column = (torch.tensor(i, device=device) for i in sampled_neurons(layer, *shape))
    return channel, row, column


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def sampled_neurons(
    layer: int, channels: int, height: int, width: int
) -> tuple[list[int], list[int], list[int]]:
    """The neurons of a layer that its raster shows: a fixed random choice, ordered by channel.

    Returns:
        Channel, row and column of each.
    """
    return _draw(layer, channels, height, width)


@lru_cache(maxsize=256)
def _draw(
    layer: int, channels: int, height: int, width: int
) -> tuple[list[int], list[int], list[int]]:
    """Apart, since the compiler looks through the cache and finds random numbers."""
    neurons = channels * height * width
    rng = np.random.default_rng((_SEED, layer))
    chosen = np.sort(rng.choice(neurons, min(RASTER_NEURONS, neurons), replace=False))
    channel, row, column = np.unravel_index(chosen, (channels, height, width))
    return channel.tolist(), row.tolist(), column.tolist()
