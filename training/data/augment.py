"""Augmentation: random scale, crop, flip, mosaic and colour, with boxes kept right.

Import this late: albumentations takes long to load, and evaluation does without it.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

import albumentations
import cv2
import numpy as np

from training.config import AugmentationConfig
from training.data.cut import Rows
from training.data.pictures import Picture, Sample

_FILL = (114, 114, 114)

Pixels = tuple[int, int, int, int]


class Augmenter:
    """Varies pictures at random, with the randomness of the generator it is given.

    Every box comes out as a row that `training.data.cut` finishes.

    Args:
        config: how.
        image_size: (height, width) in pixels of what comes out.
    """

    def __init__(self, config: AugmentationConfig, image_size: tuple[int, int]) -> None:
        self._config = config
        self._image_size = image_size
        self._zoom = _RandomZoom(image_size, config.aspect)
        self._flip = albumentations.HorizontalFlip(p=config.flip_probability)
        self._colour = albumentations.ColorJitter(
            brightness=(1 - config.brightness, 1 + config.brightness),
            contrast=(1 - config.contrast, 1 + config.contrast),
            saturation=(1 - config.saturation, 1 + config.saturation),
            hue=(-config.hue, config.hue),
            p=config.colour_probability,
        )

    def single(self, sample: Sample, rng: np.random.Generator) -> tuple[Picture, Rows]:
        """One picture, scaled, cropped, mirrored and recoloured, and its rows."""
        self._seed(rng)
        height, width = self._image_size
        image, rows = self._draw(sample, (0, 0, width, height), self._config.scale)
        return self._colour(image=image)["image"], rows

    def mosaic(self, samples: Sequence[Sample], rng: np.random.Generator) -> tuple[Picture, Rows]:
        """Four pictures around a random corner (YOLOv4, section 3.3), and their rows.

        The Mosaic of albumentations keeps aspect ratios, zooms and mirrors no picture by itself,
        and takes ten times as long.
        """
        self._seed(rng)
        height, width = self._image_size
        margin = self._config.mosaic_margin
        # No tile may be empty, however small the margin.
        y = min(max(1, round(height * rng.uniform(margin, 1 - margin))), height - 1)
        x = min(max(1, round(width * rng.uniform(margin, 1 - margin))), width - 1)
        tiles = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
        canvas = np.empty((height, width, 3), np.uint8)
        drawn = []
        for sample, tile in zip(samples, tiles, strict=True):
            x0, y0, x1, y1 = tile
            canvas[y0:y1, x0:x1], rows = self._draw(sample, tile, self._config.mosaic_scale)
            drawn.append(rows)
        return self._colour(image=canvas)["image"], np.concatenate(drawn)

    def _seed(self, rng: np.random.Generator) -> None:
        """Let `rng` decide what the transforms draw."""
        python_rng = random.Random(int(rng.integers(2**62)))
        for transform in (self._zoom, self._flip, self._colour):
            transform.set_random_state(rng, python_rng)

    def _draw(
        self, sample: Sample, tile: Pixels, scale: tuple[float, float]
    ) -> tuple[Picture, Rows]:
        """A picture scaled, cropped and mirrored for the pixels (x0, y0, x1, y1), and its rows."""
        image, objects = sample
        room = (tile[3] - tile[1], tile[2] - tile[0])
        drawn = self._flip(**self._zoom(image=image, bboxes=objects, room=room, scale=scale))
        rows = np.empty((len(objects), 9))
        rows[:, :5] = drawn["bboxes"]
        rows[:, 5:] = tile
        return drawn["image"], rows


class _RandomZoom(albumentations.DualTransform):  # type: ignore[misc]  # it has no types
    """Draws a picture at a random size and place on a tile of `room` = (height, width) pixels.

    albumentations has no zoom, drawn evenly from a range `scale`, that is relative to the stretch
    of a picture to the canvas; and its Affine, given the matrix, takes three times as long. Whole
    source pixels [s0, s1) of an axis are resized to whole pixels [d0, d1) of the tile, so that a
    coordinate, in pixels, maps exactly by x' = d0 + (x - s0) (d1 - d0) / (s1 - s0).
    """

    def __init__(self, canvas: tuple[int, int], aspect: float) -> None:
        super().__init__(p=1.0)
        self._canvas = canvas
        self._log_aspect = math.log1p(aspect)

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Where the rows and columns of this picture go."""
        zoom = self.py_random.uniform(*data["scale"])
        widen = math.exp(self.py_random.uniform(-0.5, 0.5) * self._log_aspect)
        (height, width), room = params["shape"][:2], data["room"]
        rows = self._span(height, room[0], self._canvas[0] * zoom / widen)
        columns = self._span(width, room[1], self._canvas[1] * zoom * widen)
        return {"room": room, "rows": rows, "columns": columns}

    def _span(self, source: int, room: int, drawn: float) -> Pixels:
        """(s0, s1, d0, d1) of `source` pixels that cover `drawn` pixels, of which `room` show."""
        seen = min(source, max(1, round(source * room / drawn)))
        size = min(room, max(1, round(drawn)))
        s0 = self.py_random.randrange(source - seen + 1)
        d0 = self.py_random.randrange(room - size + 1)
        return s0, s0 + seen, d0, d0 + size

    def apply(
        self, img: Picture, room: tuple[int, int], rows: Pixels, columns: Pixels, **_: Any
    ) -> Picture:
        """The tile, resized as in evaluation, grey where the picture does not reach."""
        (top, bottom, y0, y1), (left, right, x0, x1) = rows, columns
        seen = img[top:bottom, left:right]
        piece = cv2.resize(seen, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        border = (y0, room[0] - y1, x0, room[1] - x1)
        if any(border):
            piece = cv2.copyMakeBorder(piece, *border, cv2.BORDER_CONSTANT, value=_FILL)
        return np.asarray(piece, np.uint8)

    def apply_to_bboxes(
        self, bboxes: Rows, room: tuple[int, int], rows: Pixels, columns: Pixels, **params: Any
    ) -> Rows:
        """The boxes as shares of the tile, beyond its borders too."""
        mapped = bboxes.astype(np.float64)
        for axis, (s0, s1, d0, d1) in enumerate((rows, columns)):
            x = mapped[:, 1 - axis : 4 : 2] * params["shape"][axis]
            mapped[:, 1 - axis : 4 : 2] = (d0 + (x - s0) * ((d1 - d0) / (s1 - s0))) / room[axis]
        return mapped
