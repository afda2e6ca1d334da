"""Augmentation: random scale, crop, flip, mosaic and colour, with boxes kept right.

All geometry is axis-aligned: whole source pixels [s0, s1) of an axis are resized to whole canvas
pixels [d0, d1), so that a coordinate maps exactly by

    x' = d0 + (x - s0) (d1 - d0) / (s1 - s0),      mirrored:  x'' = d0 + d1 - x'.

Coordinates are continuous: pixel i covers [i, i + 1).
"""

import math
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spyv4.config import check_image_size
from training.config import AugmentationConfig
from training.data.pictures import Picture

MOSAIC_TILES = 4
_FILL = 114


class Sample(NamedTuple):
    """A picture and its boxes.

    Attributes:
        image: uint8 [height, width, 3] RGB.
        boxes_xyxy: float32 [n, 4], continuous pixels of `image` from 0.
        labels: int64 [n], class indices.
    """

    image: Picture
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]


class _Span(NamedTuple):
    """Source pixels [s0, s1) of one axis are drawn on canvas pixels [d0, d1)."""

    s0: int
    s1: int
    d0: int
    d1: int

    def map(self, x: NDArray[np.float32], mirrored: bool = False) -> NDArray[np.float32]:
        """Canvas coordinates of the source coordinates `x`."""
        y = self.d0 + (x - self.s0) * np.float32((self.d1 - self.d0) / (self.s1 - self.s0))
        return self.d0 + self.d1 - y if mirrored else y


def stretch(sample: Sample, image_size: tuple[int, int]) -> Sample:
    """`sample` stretched to `image_size` (height, width), as in evaluation."""
    height, width = sample.image.shape[:2]
    scale = np.array([image_size[1] / width, image_size[0] / height] * 2, np.float32)
    return Sample(
        _resize(sample.image, image_size[0], image_size[1]),
        sample.boxes_xyxy * scale,
        sample.labels,
    )


class Augmenter:
    """Varies pictures at random, with the randomness of the generator it is given.

    Args:
        config: how.
        image_size: (height, width) in pixels of what comes out, multiples of 32.
    """

    def __init__(self, config: AugmentationConfig, image_size: tuple[int, int]) -> None:
        check_image_size(image_size)
        self._config = config
        self._image_size = image_size
        self._colour = _colour_jitter(config)

    def single(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """One picture, scaled, cropped, mirrored and recoloured."""
        height, width = self._image_size
        canvas = self._canvas()
        boxes, labels = self._draw(canvas, (0, height, 0, width), sample, self._config.scale, rng)
        return Sample(self._recolour(canvas, rng), boxes, labels)

    def mosaic(self, samples: Sequence[Sample], rng: np.random.Generator) -> Sample:
        """Four pictures around a random corner (YOLOv4, section 3.3)."""
        height, width = self._image_size
        margin = self._config.mosaic_margin
        # No tile may be empty, however small the margin.
        y = min(max(1, round(height * rng.uniform(margin, 1 - margin))), height - 1)
        x = min(max(1, round(width * rng.uniform(margin, 1 - margin))), width - 1)
        canvas = self._canvas()
        tiles = ((0, y, 0, x), (0, y, x, width), (y, height, 0, x), (y, height, x, width))
        drawn = [
            self._draw(canvas, tile, sample, self._config.mosaic_scale, rng)
            for tile, sample in zip(tiles, samples, strict=True)
        ]
        return Sample(
            self._recolour(canvas, rng),
            np.concatenate([boxes for boxes, _ in drawn]),
            np.concatenate([labels for _, labels in drawn]),
        )

    def _canvas(self) -> Picture:
        """An empty picture of the network's size."""
        return np.full((*self._image_size, 3), _FILL, np.uint8)

    def _draw(
        self,
        canvas: Picture,
        tile: tuple[int, int, int, int],
        sample: Sample,
        scale: tuple[float, ...],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Draw on rows tile[0]:tile[1], columns tile[2]:tile[3]; the boxes that stay visible."""
        zoom = rng.uniform(scale[0], scale[1])
        widen = math.exp(0.5 * rng.uniform(-1, 1) * math.log1p(self._config.aspect))
        mirrored = rng.random() < self._config.flip_probability
        height, width = sample.image.shape[:2]
        rows = _random_span(height, tile[0], tile[1], self._image_size[0] * zoom / widen, rng)
        columns = _random_span(width, tile[2], tile[3], self._image_size[1] * zoom * widen, rng)
        piece = _resize(
            sample.image[rows.s0 : rows.s1, columns.s0 : columns.s1],
            rows.d1 - rows.d0,
            columns.d1 - columns.d0,
        )
        canvas[rows.d0 : rows.d1, columns.d0 : columns.d1] = (
            cv2.flip(piece, 1) if mirrored else piece
        )
        return self._visible(sample, rows, columns, mirrored)

    def _visible(
        self, sample: Sample, rows: _Span, columns: _Span, mirrored: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The boxes on the canvas, cut at the border of the piece, without mere remains."""
        x = columns.map(sample.boxes_xyxy[:, 0::2], mirrored)
        whole = np.column_stack((x.min(1), x.max(1), rows.map(sample.boxes_xyxy[:, 1::2])))
        whole = whole[:, [0, 2, 1, 3]]
        low = np.array([columns.d0, rows.d0] * 2, np.float32)
        high = np.array([columns.d1, rows.d1] * 2, np.float32)
        boxes = np.clip(whole, low, high)
        sides, whole_sides = boxes[:, 2:] - boxes[:, :2], whole[:, 2:] - whole[:, :2]
        keep = (sides.min(1) >= self._config.min_side_px) & (
            sides.prod(1) >= self._config.min_visible * whole_sides.prod(1)
        )
        return boxes[keep], sample.labels[keep]

    def _recolour(self, image: Picture, rng: np.random.Generator) -> Picture:
        """The picture with other colours, at times."""
        if rng.random() >= self._config.colour_probability:
            return image
        self._colour.set_random_state(rng, random.Random(int(rng.integers(2**62))))
        recoloured: Picture = self._colour(image=image)["image"]
        return recoloured


def _random_span(source: int, low: int, high: int, drawn: float, rng: np.random.Generator) -> _Span:
    """Place an axis of `source` pixels, drawn on `drawn` pixels, on canvas pixels [low, high)."""
    room = high - low
    if drawn >= room:
        seen = min(source, max(1, round(source * room / drawn)))
        start = int(rng.integers(source - seen + 1))
        return _Span(start, start + seen, low, high)
    size = max(1, round(drawn))
    start = low + int(rng.integers(room - size + 1))
    return _Span(0, source, start, start + size)


def _resize(image: Picture, height: int, width: int) -> Picture:
    """`image` stretched to (height, width) as evaluation stretches it."""
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _colour_jitter(config: AugmentationConfig) -> Any:
    """The colour transform of albumentations."""
    import albumentations

    return albumentations.ColorJitter(
        brightness=(1 - config.brightness, 1 + config.brightness),
        contrast=(1 - config.contrast, 1 + config.contrast),
        saturation=(1 - config.saturation, 1 + config.saturation),
        hue=(-config.hue, config.hue),
        p=1.0,
    )
