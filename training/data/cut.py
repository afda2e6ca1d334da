"""What is left of the boxes of a sample."""

import numpy as np
from numpy.typing import NDArray

from training.config import AugmentationConfig

Rows = NDArray[np.float64]
"""[n, 9 or more]: x0, y0, x1, y1 as shares of a tile, beyond its borders too; class index; left,
top, right, bottom of the tile in pixels of the sample; and what goes along."""


def cut(rows: Rows, config: AugmentationConfig) -> Rows:
    """Boxes in pixels, cut at the borders of their tiles, without mere remains.

    Args:
        rows: of a whole batch, which takes hardly longer than one.
        config: tells what remains are.
    """
    low, high = rows[:, [5, 6, 5, 6]], rows[:, [7, 8, 7, 8]]
    inside = rows[:, :4].clip(0, 1)
    whole, left = ((x[:, 2:4] - x[:, :2]).prod(1) for x in (rows, inside))
    boxes = low + inside * (high - low)
    large = (boxes[:, 2:4] - boxes[:, :2]).min(1) >= config.min_side_px
    # The share of a whole box is a rounding error below 1.
    kept = large & (left >= min(config.min_visible, 1 - 1e-6) * whole)
    return np.column_stack((boxes[kept], rows[kept, 4:]))
