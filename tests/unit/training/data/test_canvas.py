"""Samples laid out here and drawn on a device, which the processor stands in for."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.training.data.test_augment import (
    KEEP_ALL,
    SIZE,
    STILL,
    Drawn,
    assert_boxes_fit,
    assert_four_around_a_corner,
    filled,
    finished,
    make_sample,
    painted,
)
from training.config import AugmentationConfig
from training.data.canvas import Canvas
from training.data.layout import Layouts
from training.data.pictures import Picture, Sample

SIDE = (256, 240)


def draw(
    config: AugmentationConfig,
    samples: list[Sample],
    seed: int,
    *,
    mosaic: bool = False,
) -> Drawn:
    """Of four pictures, or the first of them."""
    samples = samples * (4 // len(samples))
    canvas = Canvas([image for image, _ in samples], 4, SIDE, torch.device("cpu"))
    layout, rows = Layouts(config, [objects for _, objects in samples]).draw(
        np.array([0]), np.array([[1, 2, 3]]), SIZE, float(mosaic), np.random.default_rng(seed)
    )
    image = canvas.draw(layout, SIZE)
    assert image.is_contiguous(memory_format=torch.channels_last)
    return finished(config, image[0].permute(1, 2, 0).numpy(), rows)


def evenly_grey(image: Picture) -> NDArray[np.float64]:
    return (image * [0.299, 0.587, 0.114]).sum(-1)


def chroma(image: Picture) -> NDArray[np.float64]:
    """Length of what colour there is besides the grey (I and Q of YIQ)."""
    of_colour = np.array([[0.5957, -0.2745, -0.3213], [0.2115, -0.5226, 0.3111]])
    length: NDArray[np.float64] = np.linalg.norm(image @ of_colour.T, axis=-1)
    return length


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_boxes_follow_a_single_picture(seed: int) -> None:
    sample = make_sample(0, np.random.default_rng(seed))
    assert_boxes_fit(draw(KEEP_ALL, [sample], seed), [0])


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_boxes_follow_a_mosaic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [make_sample(label, rng) for label in range(4)]
    assert_boxes_fit(draw(KEEP_ALL, samples, seed, mosaic=True), [0, 1, 2, 3])


@pytest.mark.parametrize("seed", range(10))
def test_a_mosaic_has_a_picture_on_every_side_of_its_corner(seed: int) -> None:
    config = replace(KEEP_ALL, mosaic_scale=(1.2, 1.5), aspect=0.3, mosaic_margin=0.2)
    samples = [filled(label, (60, 90 + 10 * label)) for label in range(4)]
    result = draw(config, samples, seed, mosaic=True)
    assert_four_around_a_corner(result)


def test_no_variation_is_the_evaluation_resize() -> None:
    rng = np.random.default_rng(1)
    image = cv2.resize(rng.integers(0, 256, (12, 15, 3), np.uint8), (240, 256))
    objects = np.array([[0.1, 0.2, 0.5, 0.9, 1]], np.float32)
    result = draw(STILL, [(image, objects)], 0)
    resized = cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(result.image.astype(int), resized.astype(int), atol=1)
    np.testing.assert_allclose(result.boxes_xyxy, objects[:, :4] * [224, 160, 224, 160], rtol=1e-5)


def test_a_flip_mirrors_about_the_middle() -> None:
    sample = make_sample(1, np.random.default_rng(0))
    flipped = draw(replace(STILL, flip_probability=1), [sample], 0)
    plain = draw(STILL, [sample], 0)
    np.testing.assert_allclose(flipped.image.astype(int), plain.image[:, ::-1].astype(int), atol=1)
    x0, y0, x1, y1 = plain.boxes_xyxy[0]
    np.testing.assert_allclose(flipped.boxes_xyxy[0], [224 - x1, y0, 224 - x0, y1], atol=1e-3)


def test_a_small_picture_lies_anywhere_on_grey() -> None:
    config, sample = replace(STILL, scale=(0.5, 0.5)), filled(0)
    lows = []
    for seed in range(60):
        result = draw(config, [sample], seed)
        box = painted(result.image, 0)
        assert box is not None
        np.testing.assert_allclose(result.boxes_xyxy[0], box, atol=1)
        x0, y0, x1, y1 = box.astype(int)
        result.image[y0:y1, x0:x1] = 114
        assert (result.image == 114).all()
        lows.append((x0, y0))
    assert np.all(np.min(lows, 0) < [12, 9])
    assert np.all(np.max(lows, 0) > [100, 71])


def test_zoom_aspect_and_flips_fill_their_ranges_evenly() -> None:
    """As the recipes have them: the zoom even in 0.25..2, the aspect up to 1.3 either way."""
    config = replace(KEEP_ALL, scale=(0.25, 2.0), aspect=0.3)
    layouts = Layouts(config, [np.array([[0, 0, 1, 1, 0]], np.float32)])
    zeros = np.zeros(4000, np.int64)
    layout, rows = layouts.draw(
        zeros, np.zeros((4000, 3), np.int64), SIZE, 0.0, np.random.default_rng(0)
    )
    width, height = (rows[:, 2:4] - rows[:, :2]).T
    zoom, aspect = np.sqrt(width * height), width / height
    assert 0.25 <= zoom.min() < 0.26
    assert 1.99 < zoom.max() <= 2.0
    assert abs(zoom.mean() - 1.125) < 0.03
    assert 1 / 1.301 < aspect.min() < 1 / 1.29
    assert 1.29 < aspect.max() < 1.301
    assert abs(np.log(aspect).mean()) < 0.01
    assert abs((layout.places[:, 0, 0, 1] < 0).float().mean() - 0.5) < 0.03
    for low, high in (rows[:, [0, 2]].T, rows[:, [1, 3]].T):
        large = high - low >= 1
        assert np.all((low <= 1e-9) & (high >= 1 - 1e-9) | ~large)
        assert np.all((low >= -1e-9) & (high <= 1 + 1e-9) | large)
        cropped = high - low > 1.2
        start = low[cropped] / (1 - high + low)[cropped]
        assert start.min() < 0.05 < 0.95 < start.max()


def test_colours_change_as_asked_and_boxes_do_not() -> None:
    """Brightness, saturation and contrast by their factors; a hue turns and keeps the grey."""
    sample = make_sample(0, np.random.default_rng(3))
    sample[0][:] = sample[0] // 2 + 60  # so that nothing is cut off at 0 or 255
    none = replace(
        STILL, colour_probability=1, brightness=0, contrast=0, saturation=0, hue=0, min_visible=0
    )
    plain = draw(none, [sample], 5)
    seen = plain.image.astype(float)
    grey = evenly_grey(plain.image)
    np.testing.assert_array_equal(plain.image, draw(STILL, [sample], 5).image)

    def factor(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
        """How many times as large a part is, everywhere."""
        value = float((part * whole).sum() / (whole * whole).sum())
        np.testing.assert_allclose(part, value * whole, atol=2)
        return value

    found = set()
    for name, whole, rest in (
        ("brightness", seen, 0),
        ("contrast", seen - grey.mean(), grey.mean()),
        ("saturation", seen - grey[..., None], grey[..., None]),
    ):
        changed = draw(replace(none, **{name: 0.3}), [sample], 5)
        value = factor(changed.image - rest, whole)
        assert 0.01 < abs(value - 1) <= 0.3
        np.testing.assert_array_equal(plain.boxes_xyxy, changed.boxes_xyxy)
        found.add(round(value, 2))
    assert len(found) == 3
    turned = draw(replace(none, hue=0.1), [sample], 5)
    np.testing.assert_allclose(evenly_grey(turned.image), grey, atol=1.5)
    np.testing.assert_allclose(chroma(turned.image), chroma(plain.image), atol=2)
    assert np.abs(turned.image - seen).max() > 5


def test_the_generator_decides_everything() -> None:
    samples = [make_sample(label, np.random.default_rng(label)) for label in range(4)]
    config = AugmentationConfig(colour_probability=1)
    first, _, again, other = (draw(config, samples, s, mosaic=True) for s in (7, 3, 7, 8))
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes_xyxy, again.boxes_xyxy)
    assert not np.array_equal(first.image, other.image)


def test_pictures_without_boxes_stay_without() -> None:
    empty = np.zeros((50, 60, 3), np.uint8), np.zeros((0, 5), np.float32)
    for mosaic in (False, True):
        assert draw(AugmentationConfig(), [empty], 0, mosaic=mosaic).boxes_xyxy.shape == (0, 4)
