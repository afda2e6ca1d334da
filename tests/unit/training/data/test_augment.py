from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.helpers.voc_tree import CLASS_NAMES, COLOURS, Scene, Thing, draw_scene
from training.config import AugmentationConfig
from training.data.augment import Augmenter
from training.data.cut import cut
from training.data.pictures import Picture, Sample

SIZE = (160, 224)
KEEP_ALL = AugmentationConfig(colour_probability=0, min_visible=0, min_side_px=1e-3)
STILL = replace(KEEP_ALL, scale=(1.0, 1.0), aspect=0, flip_probability=0)


class Drawn(NamedTuple):
    """What a batch shows of a sample: boxes in pixels, cut at the borders of their tiles."""

    image: Picture
    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]


def single(config: AugmentationConfig, sample: Sample, rng: np.random.Generator) -> Drawn:
    return finished(config, *Augmenter(config, SIZE).single(sample, rng))


def mosaic(config: AugmentationConfig, samples: list[Sample], rng: np.random.Generator) -> Drawn:
    return finished(config, *Augmenter(config, SIZE).mosaic(samples, rng))


def finished(config: AugmentationConfig, image: Picture, rows: NDArray[np.float64]) -> Drawn:
    rows = cut(rows, config)
    return Drawn(image, rows[:, :4], rows[:, 4].astype(np.int64))


def make_sample(label: int, rng: np.random.Generator) -> Sample:
    """A picture of random size with one rectangle in the colour of its class."""
    height, width = (int(x) for x in rng.integers(40, 200, size=2))
    x0, y0 = int(rng.integers(0, width - 20)), int(rng.integers(0, height - 20))
    x1, y1 = int(rng.integers(x0 + 8, width + 1)), int(rng.integers(y0 + 8, height + 1))
    image = draw_scene(
        Scene((height, width), (Thing(CLASS_NAMES[label], (x0 + 1, y0 + 1, x1, y1)),))
    )
    row = [x0 / width, y0 / height, x1 / width, y1 / height, label]
    return image, np.array([row], np.float32)


def filled(label: int, size: tuple[int, int] = (60, 90)) -> Sample:
    """A picture that is nothing but one object."""
    image = np.full((*size, 3), COLOURS[CLASS_NAMES[label]], np.uint8)
    return image, np.array([[0, 0, 1, 1, label]], np.float32)


def painted(image: Picture, label: int) -> NDArray[np.float64] | None:
    """The box around the pixels in the colour of a class, blended ones at half weight."""
    distance = np.abs(image.astype(int) - COLOURS[CLASS_NAMES[label]]).max(2)
    rows, columns = np.nonzero(distance < 70)
    if len(rows) == 0:
        return None
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)


def assert_boxes_fit(result: Drawn, labels: list[int]) -> None:
    """Every box lies around its colour, and what has no box can hardly be seen."""
    assert result.image.shape == (*SIZE, 3)
    assert result.image.dtype == np.uint8
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


def assert_four_around_a_corner(result: Drawn) -> None:
    """Pictures that are one object each fill their tiles; the margin is 0.2."""
    assert result.labels.tolist() == [0, 1, 2, 3]
    for box, label in zip(result.boxes_xyxy, result.labels, strict=True):
        np.testing.assert_allclose(box, painted(result.image, label), atol=1e-9)
    x, y = result.boxes_xyxy[0, 2:]
    np.testing.assert_allclose(
        result.boxes_xyxy,
        [[0, 0, x, y], [x, 0, SIZE[1], y], [0, y, x, SIZE[0]], [x, y, SIZE[1], SIZE[0]]],
    )
    assert 0.19 <= x / SIZE[1] <= 0.81
    assert 0.19 <= y / SIZE[0] <= 0.81


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_boxes_follow_a_single_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert_boxes_fit(single(KEEP_ALL, make_sample(0, rng), rng), [0])


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_boxes_follow_a_mosaic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [make_sample(label, rng) for label in range(4)]
    assert_boxes_fit(mosaic(KEEP_ALL, samples, rng), [0, 1, 2, 3])


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_boxes_are_clipped_and_remains_dropped(seed: int) -> None:
    config = AugmentationConfig(scale=(2.0, 2.0), aspect=0, flip_probability=0)
    rng = np.random.default_rng(seed)
    sample = make_sample(0, rng)
    x0, y0, x1, y1, _ = sample[1][0]
    whole = 4 * (x1 - x0) * (y1 - y0) * SIZE[0] * SIZE[1]
    everything = replace(config, min_visible=0, min_side_px=1e-3)
    seen = single(everything, sample, np.random.default_rng(seed)).boxes_xyxy
    kept = single(config, sample, np.random.default_rng(seed)).boxes_xyxy
    assert seen.min(initial=0) >= 0
    assert (seen <= [SIZE[1], SIZE[0]] * 2).all()
    sides = seen[:, 2:] - seen[:, :2]
    # The crop starts and ends at whole source pixels, which changes the scale a little.
    share = sides.prod(1) / whole
    assert len(kept) == 0 or share[0] > 0.24
    assert len(kept) == 1 or len(share) == 0 or share[0] < 0.26 or sides.min() < 3.0


def test_whole_boxes_stay_when_only_they_may() -> None:
    result = single(replace(STILL, min_visible=1), filled(0), np.random.default_rng(0))
    np.testing.assert_allclose(result.boxes_xyxy, [[0, 0, SIZE[1], SIZE[0]]])
    zoomed = replace(STILL, min_visible=1, scale=(1.3, 1.3))
    assert len(single(zoomed, filled(0), np.random.default_rng(0)).labels) == 0


@pytest.mark.parametrize("seed", range(20))
def test_a_mosaic_has_a_picture_on_every_side_of_its_corner(seed: int) -> None:
    config = replace(KEEP_ALL, mosaic_scale=(1.0, 1.5), aspect=0.3, mosaic_margin=0.2)
    samples = [filled(label, (60, 90 + 10 * label)) for label in range(4)]
    result = mosaic(config, samples, np.random.default_rng(seed))
    assert_four_around_a_corner(result)


def test_remains_on_a_mosaic_are_dropped_by_pixels_and_share() -> None:
    config = replace(KEEP_ALL, mosaic_scale=(1.0, 1.0), aspect=0, flip_probability=0)
    samples = [filled(label) for label in range(4)]
    everything = mosaic(config, samples, np.random.default_rng(1)).boxes_xyxy
    sides = everything[:, 2:] - everything[:, :2]
    share = sides.prod(1) / (SIZE[0] * SIZE[1])  # a zoom of 1 draws every picture as large as this
    for stricter, expected in (
        (replace(config, min_visible=np.sort(share)[1] + 0.005), share > np.sort(share)[1] + 0.005),
        (replace(config, min_side_px=sides.min() + 0.5), sides.min(1) > sides.min() + 0.5),
    ):
        assert 0 < expected.sum() < 4
        kept = mosaic(stricter, samples, np.random.default_rng(1)).labels
        assert kept.tolist() == np.flatnonzero(expected).tolist()


def test_flip_mirrors_about_the_middle() -> None:
    sample = make_sample(1, np.random.default_rng(0))
    flipped = single(replace(STILL, flip_probability=1), sample, np.random.default_rng(0))
    plain = single(STILL, sample, np.random.default_rng(0))
    assert np.array_equal(flipped.image, plain.image[:, ::-1])
    x0, y0, x1, y1 = plain.boxes_xyxy[0]
    np.testing.assert_allclose(flipped.boxes_xyxy[0], [224 - x1, y0, 224 - x0, y1], atol=1e-3)


def test_half_of_the_pictures_are_mirrored() -> None:
    config, sample = replace(STILL, flip_probability=0.5), make_sample(1, np.random.default_rng(0))
    plain = single(STILL, sample, np.random.default_rng(0)).image
    mirrored = [
        not np.array_equal(single(config, sample, np.random.default_rng(i)).image, plain)
        for i in range(100)
    ]
    assert 35 <= sum(mirrored) <= 65


def test_no_variation_is_the_evaluation_resize() -> None:
    image, objects = make_sample(2, np.random.default_rng(1))
    result = single(STILL, (image, objects), np.random.default_rng(0))
    resized = cv2.resize(image, (224, 160), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(result.image, resized)
    np.testing.assert_allclose(result.boxes_xyxy, objects[:, :4] * [224, 160, 224, 160], rtol=1e-5)


def test_zoom_and_aspect_fill_their_ranges_evenly() -> None:
    """As the recipes have them: the zoom even in 0.25..2, the aspect up to 1.3 either way."""
    config = replace(KEEP_ALL, scale=(0.25, 2.0), aspect=0.3)
    sample = filled(0, (400, 500))
    augmenter, rng = Augmenter(config, SIZE), np.random.default_rng(0)
    # Not cut, so that the whole picture counts.
    boxes = np.array([augmenter.single(sample, rng)[1][0, :4] for _ in range(500)])
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    zoom, aspect = np.sqrt(width * height), width / height
    assert 0.245 < zoom.min() < 0.3
    assert 1.95 < zoom.max() < 2.01
    assert abs(zoom.mean() - 1.125) < 0.07
    assert 1 / 1.33 < aspect.min() < 1 / 1.25
    assert 1.25 < aspect.max() < 1.33
    assert abs(np.log(aspect).mean()) < 0.02
    for low, high in (boxes[:, [0, 2]].T, boxes[:, [1, 3]].T):
        large = high - low >= 1
        assert np.all((low <= 1e-9) & (high >= 1 - 1e-9) == large)
        assert np.all((low >= -1e-9) & (high <= 1 + 1e-9) | large)
        cropped = high - low > 1.2
        start = low[cropped] / (1 - high + low)[cropped]
        assert start.min() < 0.05 < 0.95 < start.max()


def test_a_small_picture_lies_anywhere_on_grey() -> None:
    config, sample = replace(STILL, scale=(0.5, 0.5)), filled(0)
    lows = []
    for seed in range(100):
        result = single(config, sample, np.random.default_rng(seed))
        x0, y0, x1, y1 = result.boxes_xyxy[0].round().astype(int)
        assert (y1 - y0, x1 - x0) == (80, 112)
        assert (result.image[y0:y1, x0:x1] == sample[0][0, 0]).all()
        result.image[y0:y1, x0:x1] = 114
        assert (result.image == 114).all()
        lows.append((x0, y0))
    assert np.all(np.min(lows, 0) < [10, 7])
    assert np.all(np.max(lows, 0) > [102, 73])


def test_pictures_without_boxes_stay_without() -> None:
    empty = np.zeros((50, 60, 3), np.uint8), np.zeros((0, 5), np.float32)
    config = AugmentationConfig()
    for result in (
        single(config, empty, np.random.default_rng(0)),
        mosaic(config, [empty] * 4, np.random.default_rng(0)),
    ):
        assert result.boxes_xyxy.shape == (0, 4)
        assert result.labels.shape == (0,)


def test_the_generator_decides_everything() -> None:
    samples = [make_sample(label, np.random.default_rng(label)) for label in range(4)]
    config = AugmentationConfig(colour_probability=1)
    before = [(image.copy(), objects.copy()) for image, objects in samples]
    augmenter = Augmenter(config, SIZE)
    # One after the other, so that what one call leaves behind would show in the next.
    first, _, again, other = (
        finished(config, *augmenter.mosaic(samples, np.random.default_rng(seed)))
        for seed in (7, 3, 7, 8)
    )
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes_xyxy, again.boxes_xyxy)
    assert not np.array_equal(first.image, other.image)
    for whole, left in zip(before, samples, strict=True):
        assert np.array_equal(whole[0], left[0])
        assert np.array_equal(whole[1], left[1])


def test_samples_are_cut_alike_together_and_alone() -> None:
    config, rng = AugmentationConfig(), np.random.default_rng(4)
    augmenter = Augmenter(config, SIZE)
    samples = [make_sample(label, rng) for label in range(4)]
    drawn = [augmenter.mosaic(samples, rng)[1] for _ in range(8)]
    drawn += [augmenter.single(sample, rng)[1] for sample in samples]
    alone = [cut(rows, config) for rows in drawn]
    rows = np.concatenate([np.insert(rows, 9, index, 1) for index, rows in enumerate(drawn)])
    together = cut(rows, config)
    assert np.array_equal(together[:, :9], np.concatenate(alone))
    assert together[:, 9].tolist() == [i for i, rows in enumerate(alone) for _ in rows]


def test_colours_change_and_boxes_do_not() -> None:
    sample = make_sample(0, np.random.default_rng(3))
    recoloured = replace(KEEP_ALL, colour_probability=1)
    # The draws that decide on colours come last, so the geometry is the same.
    plain = single(KEEP_ALL, sample, np.random.default_rng(5))
    changed = single(recoloured, sample, np.random.default_rng(5))
    assert np.array_equal(plain.boxes_xyxy, changed.boxes_xyxy)
    assert not np.array_equal(plain.image, changed.image)
