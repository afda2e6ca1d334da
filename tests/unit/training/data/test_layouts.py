"""The three layouts, written of the same pictures, are the same data."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spyv4.config import VOC_CLASSES
from tests.helpers.layouts import write_coco_data, write_yolo
from tests.helpers.tiny_model import tiny_config
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.config import AugmentationConfig, TrainingConfig
from training.data import AnnotatedImage, TrainingLoader, open_source, read_split
from training.data.fingerprint import fingerprint
from training.evaluate.ground_truth import ground_truth_of

SHARED_DATA = Path(__file__).parents[4].parent / "shared" / "data"
SCENES = (
    Scene((90, 120), (Thing("cat", (1, 1, 120, 90)), Thing("dog", (3.5, 4, 9, 8.25)))),
    Scene((61, 77), (Thing("bus", (7, 7, 7, 7)), Thing("car", (9, 9, 40, 30), difficult=True))),
    Scene((80, 50), ()),
    Scene((50, 50), (Thing("car", (0, 0, 51, 51)),)),
    Scene((45, 133), (Thing("dog", (100, 20, 133, 45)), Thing("cat", (2, 3, 60, 40)))),
)


def without_difficult(images: Sequence[AnnotatedImage]) -> list[AnnotatedImage]:
    return [
        replace(image, objects=tuple(item for item in image.objects if not item.difficult))
        for image in images
    ]


def read_three(
    voc: list[AnnotatedImage], folder: Path, class_names: Sequence[str]
) -> tuple[list[AnnotatedImage], list[AnnotatedImage]]:
    """The same pictures by way of COCO and of YOLO."""
    files = (
        write_coco_data(voc, folder / "coco", class_names),
        write_yolo(voc, folder / "yolo", class_names),
    )
    coco, yolo = (open_source(None, file) for file in files)
    assert coco.class_names == yolo.class_names == tuple(class_names)
    return coco.read("train", class_names), yolo.read("val", class_names)


def assert_same_annotations(
    images: Sequence[AnnotatedImage], expected: Sequence[AnnotatedImage]
) -> None:
    for image, other in zip(images, expected, strict=True):
        assert (image.image_id, image.size) == (other.image_id, other.size)
        assert image.image_path.read_bytes() == other.image_path.read_bytes()
        for item, wanted in zip(image.objects, other.objects, strict=True):
            assert (item.class_name, item.difficult) == (wanted.class_name, wanted.difficult)
            np.testing.assert_allclose(item.box_xyxy, wanted.box_xyxy, rtol=0, atol=1e-3)


def assert_same_batches(
    images: list[AnnotatedImage], expected: list[AnnotatedImage], class_names: Sequence[str]
) -> None:
    config = TrainingConfig(
        model=tiny_config(class_names=class_names),
        batch_size=5,
        augmentation=AugmentationConfig(mosaic_probability=0.5),
    )
    for augment in (False, True):
        one, other = (TrainingLoader(of, config, augment=augment) for of in (images, expected))
        for batch, wanted in zip(one.batches(0), other.batches(0), strict=True):
            assert torch.equal(batch.images, wanted.images)
            torch.testing.assert_close(batch.targets, wanted.targets, rtol=0, atol=1e-3)


def assert_same_truth(
    images: list[AnnotatedImage], expected: list[AnnotatedImage], class_names: Sequence[str]
) -> None:
    one, other = (ground_truth_of(of, class_names) for of in (images, expected))
    assert one.image_ids == other.image_ids
    assert one.boxes_per_class == other.boxes_per_class
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.image_indices, other.image_indices)
    np.testing.assert_array_equal(one.difficult, other.difficult)
    np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=0, atol=1e-3)


def assert_the_same_data(
    voc: list[AnnotatedImage], folder: Path, class_names: Sequence[str]
) -> None:
    coco, yolo = read_three(voc, folder, class_names)
    for images, expected in ((coco, voc), (yolo, without_difficult(voc))):
        assert_same_annotations(images, expected)
        assert_same_batches(images, expected, class_names)
        assert_same_truth(images, expected, class_names)


def test_drawn_pictures_are_the_same_data_in_all_layouts(tmp_path: Path) -> None:
    write_voc_tree(tmp_path / "voc", SCENES)
    voc = read_split(tmp_path / "voc", "VOC2012:train", CLASS_NAMES)
    assert_the_same_data(voc, tmp_path, CLASS_NAMES)


def test_a_run_may_go_on_from_the_same_pictures_as_coco(tmp_path: Path) -> None:
    write_voc_tree(tmp_path / "voc", SCENES)
    voc = read_split(tmp_path / "voc", "VOC2012:train", CLASS_NAMES)
    coco, _ = read_three(voc, tmp_path, CLASS_NAMES)
    assert fingerprint(coco) == fingerprint(voc)


@pytest.mark.data
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs the photographs of ../shared/data")
def test_photographs_are_the_same_data_in_all_layouts(tmp_path: Path) -> None:
    voc = read_split(SHARED_DATA, "VOC2012:val", VOC_CLASSES, need_images=False)
    voc = sorted(voc, key=lambda image: image.image_id)[::3][:200]
    assert len(voc) == 200
    assert any(item.difficult for image in voc for item in image.objects)
    assert_the_same_data(voc, tmp_path, VOC_CLASSES)
