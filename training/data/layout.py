"""Augmentation in two halves: where everything goes is settled here, and drawn on a device.

The same variety as that of `training.data.augment`, which draws at once, on processors.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import AugmentationConfig
from training.data.cut import Rows
from training.data.sizes import Size

TILES = 4
GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness (ITU-R BT.601)."""
_TO_YIQ = np.array([GREY, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


class Layout(NamedTuple):
    """How a batch is to be drawn.

    Attributes:
        pictures: index of the picture of every tile, int64 [B, 4].
        corners: (x, y) where the four tiles of a sample meet, in pixels, float32 [B, 2]; the lower
            right corner of the sample where there is one picture.
        places: where the whole picture of a tile would go, by axis (x, y): its start and its
            length in pixels, the latter below 0 where it is mirrored; float32 [B, 4, 2, 2].
        colours: what red, green and blue are multiplied by from the left, float32 [B, 3, 3].
        contrasts: factors of the distance from the mean grey of the sample, float32 [B].
    """

    pictures: Tensor
    corners: Tensor
    places: Tensor
    colours: Tensor
    contrasts: Tensor


class Layouts:
    """Makes layouts at random.

    Args:
        config: how pictures are varied.
        annotations: objects of every picture, as in `training.data.pictures.Sample`.
    """

    def __init__(
        self, config: AugmentationConfig, annotations: Sequence[NDArray[np.float32]]
    ) -> None:
        self._config = config
        self._counts = np.array([len(objects) for objects in annotations], np.int64)
        self._first = np.cumsum(self._counts) - self._counts
        self._objects = np.concatenate(annotations).astype(np.float64)

    def draw(
        self,
        firsts: NDArray[np.int64],
        others: NDArray[np.int64],
        size: Size,
        mosaic_share: float,
        rng: np.random.Generator,
    ) -> tuple[Layout, Rows]:
        """A batch, and its rows as in `training.data.cut`, the index in the batch after them.

        Args:
            firsts: the pictures that the batch is of, [B].
            others: three more for each, should it become a mosaic, [B, 3].
            size: (height, width) of the samples in pixels.
            mosaic_share: share of mosaics, 0..1.
            rng: all randomness comes from it.
        """
        config, count = self._config, len(firsts)
        extent = np.array(size[::-1], np.float64)
        mosaic = rng.random(count) < mosaic_share
        margin = config.mosaic_margin
        # No tile may be empty, however small the margin.
        met = (extent * rng.uniform(margin, 1 - margin, (count, 2))).round().clip(1, extent - 1)
        corners = np.where(mosaic[:, None], met, extent)
        low, high = _tiles(corners, extent)
        ranges = np.where(mosaic[:, None], config.mosaic_scale, config.scale)
        zoom = rng.uniform(ranges[:, None, 0], ranges[:, None, 1], (count, TILES))
        widen = np.exp(rng.uniform(-0.5, 0.5, (count, TILES)) * math.log1p(config.aspect))
        length = extent * np.stack((zoom * widen, zoom / widen), -1)
        spare = high - low - length  # below 0 where the picture is larger than its tile
        start = low + spare * rng.random((count, TILES, 2))
        mirrored = rng.random((count, TILES)) < config.flip_probability
        start[..., 0] += np.where(mirrored, length[..., 0], 0)
        length[..., 0] *= np.where(mirrored, -1, 1)
        pictures = np.column_stack((firsts, others))
        colours, contrasts = self._colours(count, rng)
        values = (corners, np.stack((start, length), -1), colours, contrasts)
        layout = Layout(
            torch.from_numpy(pictures),
            *(torch.from_numpy(value.astype(np.float32)) for value in values),
        )
        return layout, self._rows(pictures, mosaic, (start, length), (low, high))

    def _rows(
        self,
        pictures: NDArray[np.int64],
        mosaic: NDArray[np.bool_],
        places: tuple[NDArray[np.float64], NDArray[np.float64]],
        tiles: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> Rows:
        """Of all objects that may show."""
        shown = np.ones(pictures.shape, bool)
        shown[~mosaic, 1:] = False
        sample, tile = np.nonzero(shown)
        found = pictures[sample, tile]
        counts = self._counts[found]
        place = np.repeat(np.arange(len(found)), counts)
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        objects = self._objects[self._first[found][place] + within]
        sample, tile = sample[place], tile[place]
        (start, length), (low, high) = (
            [value[sample, tile] for value in pair] for pair in (places, tiles)
        )
        ends = [(start + objects[:, i : i + 2] * length - low) / (high - low) for i in (0, 2)]
        return np.column_stack(
            (np.minimum(*ends), np.maximum(*ends), objects[:, 4], low, high, sample)
        )

    def _colours(
        self, count: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Brightness, saturation and hue as one matrix a sample, and contrasts."""
        config = self._config
        spans = (config.brightness, config.contrast, config.saturation, config.hue)
        drawn = rng.uniform(-1, 1, (count, 4)) * np.array(spans)
        drawn *= rng.random((count, 1)) < config.colour_probability
        brightness, contrast, saturation = 1 + drawn[:, :3].T
        turn = 2 * math.pi * drawn[:, 3]
        chroma = np.zeros((count, 3, 3))
        chroma[:, 0, 0] = 1
        chroma[:, 1, 1] = chroma[:, 2, 2] = saturation * np.cos(turn)
        chroma[:, 2, 1] = saturation * np.sin(turn)
        chroma[:, 1, 2] = -chroma[:, 2, 1]
        return brightness[:, None, None] * (_FROM_YIQ @ chroma @ _TO_YIQ), contrast


def _tiles(
    corners: NDArray[np.float64], extent: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(x, y) of the upper left and of the lower right corner of every tile, [B, 4, 2]."""
    low = np.zeros((len(corners), TILES, 2))
    high = np.empty_like(low)
    for tile in range(TILES):
        for axis, beyond in enumerate((tile % 2, tile // 2)):
            low[:, tile, axis] = corners[:, axis] if beyond else 0
            high[:, tile, axis] = extent[axis] if beyond else corners[:, axis]
    # Tiles of no extent have no picture.
    return low, np.maximum(high, low + 1)
