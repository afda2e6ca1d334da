"""How the head maps of successive reads become one answer."""

from typing import NamedTuple

import torch
from torch import Tensor

Maps = tuple[Tensor, ...]
"""Raw outputs of the heads, each [B, anchors (5 + classes), H / stride, W / stride]."""


class ReadoutState(NamedTuple):
    """State of the leaky read-out, in float32 whatever the network computes in.

    Attributes:
        mean: unnormalised leaky sums of the head maps.
        weight: sum of the weights that went into them, [B, 1, 1, 1]; 0 before the first read.
    """

    mean: Maps
    weight: Tensor


def leaky_readout(maps: Maps, state: ReadoutState, rate: float) -> tuple[Maps, ReadoutState]:
    """Leaky average of the head maps over the reads so far.

        m_t = (1 - r) m_{t-1} + r h_t;   w_t = (1 - r) w_{t-1} + r;   out_t = m_t / w_t

    The division makes the first answer the first read itself rather than a share of it.

    Args:
        maps: head maps h_t of this read.
        state: sums after the read before.
        rate: r in (0, 1].

    Returns:
        The averaged maps, float32, and the new state.
    """
    mean = tuple(old + rate * (new - old) for old, new in zip(state.mean, maps, strict=True))
    weight = state.weight + rate * (1 - state.weight)
    return tuple(m / weight for m in mean), ReadoutState(mean, weight)


def initial_readout(shapes: list[tuple[int, ...]], device: torch.device) -> ReadoutState:
    """The state before the first read, for head maps of these shapes."""
    mean = tuple(torch.zeros(shape, device=device) for shape in shapes)
    return ReadoutState(mean, torch.zeros(shapes[0][0], 1, 1, 1, device=device))
