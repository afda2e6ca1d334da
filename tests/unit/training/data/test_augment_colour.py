"""The colours that augmentation draws, and the settings of augmentation."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from spyv4.errors import ConfigError
from spyv4.validation import from_mapping, to_mapping
from training.config import AugmentationConfig
from training.data.augment import Augmenter
from training.data.pictures import Picture, Sample

SIZE = (64, 96)
STILL = AugmentationConfig(scale=(1.0, 1.0), aspect=0, flip_probability=0)


def flat(colour: tuple[int, int, int]) -> Sample:
    """A picture of one colour without objects."""
    return np.full((40, 40, 3), colour, np.uint8), np.zeros((0, 5), np.float32)


def hsv(rgb: list[int]) -> list[int]:
    pixel: Picture = np.array([[rgb]], np.uint8)
    return [int(x) for x in cv2.cvtColor(pixel, cv2.COLOR_RGB2HSV)[0, 0]]


@pytest.mark.parametrize(
    ("change", "colour", "measure", "low", "high"),
    [
        # Hue in degrees of OpenCV, of which 180 make the circle.
        ({"hue": 0.1}, (60, 180, 60), lambda rgb: hsv(rgb)[0], 42, 78),
        ({"saturation": 0.5}, (150, 100, 100), lambda rgb: rgb[0] - rgb[1], 25, 75),
        ({"brightness": 0.5}, (100, 100, 100), lambda rgb: rgb[0], 50, 150),
        ({"contrast": 0.0}, (150, 100, 50), lambda rgb: rgb[0], 150, 150),
    ],
)
def test_colours_fill_the_ranges_of_the_recipes(
    change: dict[str, float],
    colour: tuple[int, int, int],
    measure: Callable[[list[int]], int],
    low: int,
    high: int,
) -> None:
    still = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    config = replace(STILL, colour_probability=1, **(still | change))
    augmenter, rng = Augmenter(config, SIZE), np.random.default_rng(0)
    found = [measure(augmenter.single(flat(colour), rng)[0][0, 0].tolist()) for _ in range(150)]
    reach = (high - low) / 20
    assert low - 1 <= min(found) <= low + reach
    assert high - reach <= max(found) <= high + 1


def test_colours_change_as_often_as_stated() -> None:
    augmenter = Augmenter(replace(STILL, colour_probability=0.3), SIZE)
    rng = np.random.default_rng(0)
    found = [augmenter.single(flat((90, 60, 30)), rng)[0][0, 0].tolist() for _ in range(200)]
    assert 40 <= sum(colour != [90, 60, 30] for colour in found) <= 80


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flip_probability", 1.5),
        ("mosaic_probability", -0.1),
        ("min_visible", 2.0),
        ("hue", 0.6),
        ("brightness", -1.0),
        ("scale", (0.0, 1.0)),
        ("scale", (1.5, 0.5)),
        ("mosaic_scale", (1.0,)),
        ("mosaic_margin", 0.0),
        ("mosaic_margin", 0.6),
        ("min_side_px", 0.0),
        ("aspect", -0.5),
        ("mosaic_epochs", -1),
    ],
)
def test_settings_are_checked(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{field}.* (must|missing)"):
        from_mapping(AugmentationConfig, {field: value})


def test_settings_survive_plain_values() -> None:
    config = AugmentationConfig(scale=(0.7, 1.2), mosaic_epochs=3)
    assert from_mapping(AugmentationConfig, to_mapping(config)) == config


def test_mosaics_end_with_their_epochs() -> None:
    config = AugmentationConfig(mosaic_probability=0.4, mosaic_epochs=2)
    assert [config.mosaic_share(epoch) for epoch in range(4)] == [0.4, 0.4, 0, 0]
    assert AugmentationConfig(mosaic_probability=0.4).mosaic_share(999) == 0.4
