"""Anchors that are found in the boxes of a training set."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spyv4.config import VOC_CLASSES, HeadConfig, model_preset
from tests.helpers.tiny_model import tiny_config
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.anchors import box_sides, find_anchors, shape_iou, with_found_anchors
from training.data import AnnotatedImage, read_split
from training.errors import DatasetError

DATA = Path(__file__).parents[3] / ".." / "shared" / "data" / "VOCdevkit"
SHAPES = np.array([[8.0, 10.0], [30.0, 12.0], [25.0, 60.0], [90.0, 80.0]])


def crowd(seed: int = 0) -> np.ndarray:
    """Boxes that keep close to four shapes, in any order."""
    rng = np.random.default_rng(seed)
    sides = np.repeat(SHAPES, 50, axis=0) * rng.uniform(0.93, 1.07, (200, 2))
    return rng.permutation(sides)


def test_the_shapes_that_boxes_crowd_around_are_found_by_rising_area() -> None:
    for seed in range(5):
        found = find_anchors(crowd(), 4, np.random.default_rng(seed))
        np.testing.assert_allclose(found, SHAPES, rtol=0.03)


def test_the_same_seed_finds_the_same() -> None:
    one, other, another = (
        find_anchors(np.random.default_rng(3).uniform(5, 90, (300, 2)), 6, rng)
        for rng in map(np.random.default_rng, (1, 1, 2))
    )
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, another)


def test_shape_iou_by_hand() -> None:
    overlap = shape_iou(np.array([[10.0, 20.0]]), np.array([[20.0, 10.0], [10.0, 20.0]]))
    np.testing.assert_allclose(overlap, [[100 / 300, 1]])


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[AnnotatedImage]:
    """Boxes of 40 x 20 to 85 x 65 pixels on pictures of 100 x 100; large difficult ones besides."""
    scenes = [
        Scene(
            (100, 100),
            (
                Thing("cat", (1, 1, 40 + 5 * i, 20 + 5 * i)),
                Thing("car", (1, 1, 99, 99), difficult=True),
            ),
        )
        for i in range(10)
    ]
    root = tmp_path_factory.mktemp("voc")
    write_voc_tree(root, scenes)
    return read_split(root, "VOC2012:train", CLASS_NAMES)


def test_sides_are_those_on_the_networks_images(images: list[AnnotatedImage]) -> None:
    sides = box_sides(images, tiny_config(class_names=CLASS_NAMES, image_size=(64, 320)))
    expected = [[3.2 * (40 + 5 * i), 0.64 * (20 + 5 * i)] for i in range(10)]
    np.testing.assert_allclose(sides, expected, rtol=1e-5)


def test_larger_anchors_go_to_coarser_heads_in_any_order_of_heads(
    images: list[AnnotatedImage], caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_config(class_names=CLASS_NAMES, unused_anchors=((10, 14),))
    heads = (
        HeadConfig("p4_out", ((1, 1),)),
        HeadConfig("p5_out", ((2, 2), (3, 3))),
    )
    with caplog.at_level(logging.INFO):
        found = with_found_anchors(replace(model, heads=heads), images, seed=0)
    assert [head.layer for head in found.heads] == ["p4_out", "p5_out"]
    (small,), (middle, large) = (head.anchors for head in found.heads)
    areas = [width * height for width, height in (small, middle, large)]
    assert areas == sorted(areas)
    assert 25 < small[0] < middle[0] < large[0] < 55
    assert found.unused_anchors == ()
    assert replace(found, heads=heads, unused_anchors=((10, 14),)) == replace(model, heads=heads)
    (record,) = caplog.records
    message = record.getMessage()
    assert f"p4_out {small[0]:g}x{small[1]:g}" in message
    assert "mean best IoU with the 10 training boxes" in message


def test_too_few_boxes_are_refused(images: list[AnnotatedImage]) -> None:
    model = tiny_config(class_names=CLASS_NAMES)
    same = [images[0]] * 9  # of one shape
    for few in ([], images[:5], same):
        with pytest.raises(DatasetError, match=r"at least 6 different shapes, .* not [015];"):
            with_found_anchors(model, few, seed=0)


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the photographs of ../shared/data")
def test_real_boxes_are_met_better_than_by_the_presets_anchors() -> None:
    images = read_split(DATA, "VOC2012:val", VOC_CLASSES, need_images=False)
    nano = model_preset("spyv4-nano")
    found = with_found_anchors(nano, images, seed=0)
    sides = box_sides(images, nano)
    fits = [
        shape_iou(sides, np.array([a for head in model.heads for a in head.anchors])).max(1).mean()
        for model in (nano, found)
    ]
    assert fits[1] > fits[0] + 0.03
