"""How the head maps of successive reads become one answer."""

from typing import NamedTuple

import torch
from torch import Tensor

from spyv4.types import HeadMaps


class LeakyReadoutState(NamedTuple):
    """State of the leaky read-out.

    Attributes:
        mean: unnormalised leaky sums of the head maps.
        weight: sum of the weights that went into them, [B, 1, 1, 1]; 0 before the first read.
    """

    mean: HeadMaps
    weight: Tensor


def leaky_readout(
    maps: HeadMaps, state: LeakyReadoutState, rate: float
) -> tuple[HeadMaps, LeakyReadoutState]:
    """Leaky average of the head maps over the reads so far.

        m_t = (1 - r) m_{t-1} + r h_t;   w_t = (1 - r) w_{t-1} + r;   out_t = m_t / w_t

    The division makes the first answer the first read itself rather than a share of it.

    Args:
        maps: head maps h_t of this read.
        state: sums after the read before.
        rate: r in (0, 1].

    Returns:
        The averaged maps and the new state.
    """
    mean = HeadMaps(*(old + rate * (new - old) for old, new in zip(state.mean, maps, strict=True)))
    weight = state.weight + rate * (1 - state.weight)
    return HeadMaps(*(m / weight for m in mean)), LeakyReadoutState(mean, weight)


def initial_readout(
    batch: int,
    image_size: tuple[int, int],
    outputs: tuple[int, int],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> LeakyReadoutState:
    """The state before the first read.

    Args:
        batch: number of pictures.
        image_size: (height, width) of the pictures in pixels.
        outputs: channels of the coarse and the fine head.
        dtype: of the head maps.
        device: of the head maps.
    """
    maps = (
        torch.zeros(
            batch,
            channels,
            image_size[0] // stride,
            image_size[1] // stride,
            dtype=dtype,
            device=device,
        )
        for channels, stride in zip(outputs, (32, 16), strict=True)
    )
    weight = torch.zeros(batch, 1, 1, 1, dtype=dtype, device=device)
    return LeakyReadoutState(HeadMaps(*maps), weight)
