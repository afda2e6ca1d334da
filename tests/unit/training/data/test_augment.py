from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spyv4.errors import ConfigError
from spyv4.validation import from_mapping, to_mapping
from tests.helpers.voc_tree import CLASS_NAMES, COLOURS, Scene, Thing, draw_scene
from training.config import AugmentationConfig
from training.data.augment import Augmenter, Sample, stretch

SIZE = (160, 224)
KEEP_ALL = AugmentationConfig(colour_probability=0, min_visible=0, min_side_px=1e-3)


def make_sample(label: int, rng: np.random.Generator) -> Sample:
    """A picture of random size with one rectangle in the colour of its class."""
    height, width = (int(x) for x in rng.integers(40, 200, size=2))
    x0, y0 = int(rng.integers(0, width - 20)), int(rng.integers(0, height - 20))
    x1, y1 = int(rng.integers(x0 + 8, width + 1)), int(rng.integers(y0 + 8, height + 1))
    image = draw_scene(
        Scene((height, width), (Thing(CLASS_NAMES[label], (x0 + 1, y0 + 1, x1, y1)),))
    )
    return Sample(image, np.array([[x0, y0, x1, y1]], np.float32), np.array([label]))


def painted(image: NDArray[np.uint8], label: int) -> NDArray[np.float64] | None:
    """The box around the pixels in the colour of a class, blended ones at half weight."""
    distance = np.abs(image.astype(int) - COLOURS[CLASS_NAMES[label]]).max(2)
    rows, columns = np.nonzero(distance < 70)
    if len(rows) == 0:
        return None
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def assert_boxes_fit(result: Sample, labels: list[int]) -> None:
    """Every box lies around its colour, and what has no box can hardly be seen."""
    assert result.image.shape == (*SIZE, 3)
    assert result.image.dtype == np.uint8
    assert result.boxes_xyxy.dtype == np.float32
    boxes = {int(k): box for k, box in zip(result.labels, result.boxes_xyxy, strict=True)}
    for label in labels:
        seen = painted(result.image, label)
        if label not in boxes:
            assert seen is None
        elif seen is None:
            assert (boxes[label][2:] - boxes[label][:2]).min() < 3
        else:
            # A source pixel can be several canvas pixels wide, and its border is blended.
            np.testing.assert_allclose(boxes[label], seen, atol=4.5)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_boxes_follow_a_single_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample = make_sample(0, rng)
    assert_boxes_fit(Augmenter(KEEP_ALL, SIZE).single(sample, rng), [0])


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_boxes_follow_a_mosaic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [make_sample(label, rng) for label in range(4)]
    assert_boxes_fit(Augmenter(KEEP_ALL, SIZE).mosaic(samples, rng), [0, 1, 2, 3])


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_boxes_are_clipped_and_remains_dropped(seed: int) -> None:
    config = AugmentationConfig(scale=(2.0, 2.0), aspect=0, flip_probability=0)
    rng = np.random.default_rng(seed)
    sample = make_sample(0, rng)
    whole = 4 * np.prod(np.diff(stretch(sample, SIZE).boxes_xyxy.reshape(2, 2), axis=0))
    everything = replace(config, min_visible=0, min_side_px=1e-3)
    seen = Augmenter(everything, SIZE).single(sample, np.random.default_rng(seed)).boxes_xyxy
    kept = Augmenter(config, SIZE).single(sample, np.random.default_rng(seed)).boxes_xyxy
    assert seen.min(initial=0) >= 0
    assert (seen <= [SIZE[1], SIZE[0]] * 2).all()
    sides = seen[:, 2:] - seen[:, :2]
    # The crop starts and ends at whole source pixels, which changes the scale a little.
    share = sides.prod(1) / whole
    assert len(kept) == 0 or share[0] > 0.24
    assert len(kept) == 1 or len(share) == 0 or share[0] < 0.26 or sides.min() < 3.0


def test_flip_mirrors_about_the_middle() -> None:
    sample = make_sample(1, np.random.default_rng(0))
    config = replace(KEEP_ALL, scale=(1.0, 1.0), aspect=0, flip_probability=1)
    flipped = Augmenter(config, SIZE).single(sample, np.random.default_rng(0))
    plain = stretch(sample, SIZE)
    assert np.array_equal(flipped.image, plain.image[:, ::-1])
    x0, y0, x1, y1 = plain.boxes_xyxy[0]
    np.testing.assert_allclose(flipped.boxes_xyxy[0], [224 - x1, y0, 224 - x0, y1], atol=1e-3)


def test_stretch_is_the_evaluation_resize() -> None:
    sample = make_sample(2, np.random.default_rng(1))
    result = stretch(sample, SIZE)
    assert np.array_equal(
        result.image, cv2.resize(sample.image, (224, 160), interpolation=cv2.INTER_LINEAR)
    )
    height, width = sample.image.shape[:2]
    scale = np.array([224 / width, 160 / height] * 2)
    np.testing.assert_allclose(result.boxes_xyxy, sample.boxes_xyxy * scale, rtol=1e-5)
    identity = replace(KEEP_ALL, scale=(1.0, 1.0), aspect=0, flip_probability=0)
    same = Augmenter(identity, SIZE).single(sample, np.random.default_rng(0))
    assert np.array_equal(same.image, result.image)


def test_pictures_without_boxes_stay_without() -> None:
    empty = Sample(
        np.zeros((50, 60, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    )
    augmenter = Augmenter(AugmentationConfig(), SIZE)
    for result in (
        augmenter.single(empty, np.random.default_rng(0)),
        augmenter.mosaic([empty] * 4, np.random.default_rng(0)),
    ):
        assert result.boxes_xyxy.shape == (0, 4)
        assert result.labels.shape == (0,)


def test_the_generator_decides_everything() -> None:
    samples = [make_sample(label, np.random.default_rng(label)) for label in range(4)]
    config = AugmentationConfig(colour_probability=1)
    before = [sample.image.copy() for sample in samples]
    first, again, other = (
        Augmenter(config, SIZE).mosaic(samples, np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes_xyxy, again.boxes_xyxy)
    assert not np.array_equal(first.image, other.image)
    assert all(np.array_equal(a, b.image) for a, b in zip(before, samples, strict=True))


def test_colours_change_and_boxes_do_not() -> None:
    sample = make_sample(0, np.random.default_rng(3))
    recoloured = replace(KEEP_ALL, colour_probability=1)
    # The draw that decides on colours comes last, so the geometry is the same.
    plain = Augmenter(KEEP_ALL, SIZE).single(sample, np.random.default_rng(5))
    changed = Augmenter(recoloured, SIZE).single(sample, np.random.default_rng(5))
    assert np.array_equal(plain.boxes_xyxy, changed.boxes_xyxy)
    assert not np.array_equal(plain.image, changed.image)


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
