"""Firing rates, message rates, rasters and heat maps; opt-in, computed where the spikes are."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spyv4.network.spyv4 import Spikes
from spyv4.network.table import CHANNELS, IMAGE, ROWS, STRIDES, Row

RASTER_NEURONS = 128
GRID_STRIDE = 16
_SEED = 8


class Activity(NamedTuple):
    """Activity of one read.

    Attributes:
        firing_rates: share of neurons that spiked, [B, layers].
        message_rates: share of ones in what each layer receives (see `table.Row`), after halving
            and pooling, [B, layers]; 1 for the first layer, which receives pixels.
        rasters: spikes of the sampled neurons, [B, layers, 128]; layers with fewer neurons are
            padded with zeros.
        heat: share of neurons that spiked at every place, by a grid of the picture with a cell for
            16 x 16 pixels, [B, layers, H / 16, W / 16]; coarser layers repeat theirs.
    """

    firing_rates: Tensor
    message_rates: Tensor
    rasters: Tensor
    heat: Tensor


def summarise(spikes: Spikes) -> Activity:
    """Rates and rasters of all layers, shallow to deep.

    Args:
        spikes: of one read of B pictures.
    """
    rates: dict[str, Tensor] = {}
    rasters, heat = [], []
    for layer, (name, tensor) in enumerate(spikes.items()):
        places = (tensor > 0).float().mean(dim=1, keepdim=True)
        rates[name] = places.mean(dim=(1, 2, 3))
        heat.append(_on_grid(places, STRIDES[name]))
        channel, row, column = _indices(layer, tensor)
        rows = (tensor[:, channel, row, column] > 0).float()
        rasters.append(functional.pad(rows, (0, RASTER_NEURONS - rows.shape[1])))
    return Activity(
        torch.stack(list(rates.values()), dim=1),
        torch.stack([_message_rate(row, spikes, rates) for row in ROWS], dim=1),
        torch.stack(rasters, dim=1),
        torch.cat(heat, dim=1),
    )


def _on_grid(places: Tensor, stride: int) -> Tensor:
    """A map of a layer, [B, 1, h, w], on the grid of `Activity.heat`."""
    if stride < GRID_STRIDE:
        return functional.avg_pool2d(places, GRID_STRIDE // stride)
    return functional.interpolate(places, scale_factor=stride // GRID_STRIDE)


def _rate(spikes: Tensor) -> Tensor:
    """Share of ones, [B]; of positive values in the twin, which has no spikes."""
    return (spikes > 0).float().mean(dim=(1, 2, 3))


def _message_rate(row: Row, spikes: Spikes, rates: Mapping[str, Tensor]) -> Tensor:
    """Share of ones in what a layer receives, [B]: the mean of its parts by their channels."""
    if row.inputs == (IMAGE,):
        return torch.ones_like(rates[row.name])
    if row.kind == "half":
        return _rate(spikes[row.inputs[0]].chunk(2, dim=1)[1])
    parts = {
        name: _rate(functional.max_pool2d(spikes[name], 2)) if row.kind == "pool" else rates[name]
        for name in row.inputs
    }
    ones = [CHANNELS[name] * rate for name, rate in parts.items()]
    return torch.stack(ones).sum(0) / sum(CHANNELS[name] for name in row.inputs)


def _indices(layer: int, spikes: Tensor) -> tuple[Any, Any, Any]:
    """Where the sampled neurons are in the spikes of a layer."""
    if torch.compiler.is_compiling():  # lists are constants to the compiler
        channel, row, column = sampled_neurons(layer, *spikes.shape[1:])
        return channel, row, column
    return _index_tensors(layer, tuple(spikes.shape[1:]), spikes.device)


@cache
def _index_tensors(
    layer: int, shape: tuple[int, ...], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Made once: turning lists into tensors costs as much as the sampling.

    And for good, since a CUDA graph goes on reading them where they are.
    """
    channel, row, column = (torch.tensor(i, device=device) for i in sampled_neurons(layer, *shape))
    return channel, row, column


def sampled_neurons(
    layer: int, channels: int, height: int, width: int
) -> tuple[list[int], list[int], list[int]]:
    """The neurons of a layer that its raster shows: a fixed random choice, ordered by channel.

    Returns:
        Channel, row and column of each.
    """
    return _draw(layer, channels, height, width)


# What `torch.compiler.assume_constant_result` does; that would load the whole compiler, which takes
# as long as the rest of torch and a hundred megabytes, for whoever never compiles.
sampled_neurons._dynamo_marked_constant = True  # type: ignore[attr-defined]


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
