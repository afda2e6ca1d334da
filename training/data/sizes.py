"""Multi-scale training: the size of a batch, from (seed, epoch, step) alone."""

import numpy as np

from spyv4.config import STRIDE

Size = tuple[int, int]
_SIZE = 2
"""Beside the loader's own numbers of what is drawn."""


def image_sizes(nominal: Size, share: float) -> tuple[Size, ...]:
    """The (height, width) that batches may have, rising.

    Heights are in steps of 32 around the nominal one, at most `share` of it away; widths keep the
    proportion as nearly as multiples of 32 can.

    Args:
        nominal: (height, width), multiples of 32.
        share: in [0, 1); 0 for the nominal size alone.
    """
    height, width = nominal
    steps = int(share * height / STRIDE + 1e-9)  # a rounding error must not cost a size
    heights = range(height - steps * STRIDE, height + steps * STRIDE + 1, STRIDE)
    return tuple((h, max(1, round(width * h / height / STRIDE)) * STRIDE) for h in heights)


def size_of_batch(nominal: Size, share: float, seed: int, epoch: int, step: int) -> Size:
    """The (height, width) of a batch, drawn evenly from `image_sizes`."""
    sizes = image_sizes(nominal, share)
    return sizes[np.random.default_rng((seed, epoch, _SIZE, step)).integers(len(sizes))]
