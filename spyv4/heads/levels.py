"""The levels of the head: a raw map, and the stride and anchors that give it meaning."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from spyv4.config import ModelConfig
from spyv4.network.readout import Maps
from spyv4.network.table import STRIDES


class Level(NamedTuple):
    """One head: its raw map by anchor and what is needed to decode it.

    Attributes:
        raw: float32 [B, A, H, W, 5 + classes]: t_x, t_y, t_w, t_h, objectness logit, class logits.
        anchors: [A, 2] (width, height) in pixels.
        stride: pixels a cell.
    """

    raw: Tensor
    anchors: Tensor
    stride: int


def split_levels(maps: Maps, config: ModelConfig) -> tuple[Level, ...]:
    """The heads, in the order of the configuration."""
    levels = []
    for raw, head in zip(maps, config.heads, strict=True):
        batch, _, height, width = raw.shape
        by_anchor = raw.float().view(batch, len(head.anchors), -1, height, width)
        anchors = anchor_tensor(head.anchors, raw.device)
        levels.append(Level(by_anchor.permute(0, 1, 3, 4, 2), anchors, STRIDES[head.layer]))
    return tuple(levels)


@lru_cache(maxsize=64)
def anchor_tensor(anchors: tuple[tuple[float, float], ...], device: torch.device) -> Tensor:
    """Anchors as a tensor; made once a device, since a copy to a GPU waits for it."""
    return torch.tensor(anchors, dtype=torch.float32, device=device)


@lru_cache(maxsize=64)
def grid_cells(height: int, width: int, device: torch.device) -> Tensor:
    """(column, row) of every cell, float32 [height, width, 2]."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float32),
        torch.arange(width, device=device, dtype=torch.float32),
        indexing="ij",
    )
    return torch.stack((columns, rows), dim=-1)
