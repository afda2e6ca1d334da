import itertools
import multiprocessing
import random
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from spyv4.errors import ConfigError
from tests.helpers.tiny_model import tiny_config
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.config import AugmentationConfig, TrainingConfig
from training.data import AnnotatedImage, Batch, LoaderOptions, TrainingLoader, read_split
from training.data.loader import repeat_factors
from training.data.pictures import decode_rgb
from training.errors import DatasetError, DataWorkerError

SIZE = (64, 96)
VARIED = AugmentationConfig(mosaic_probability=0.5)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[AnnotatedImage]:
    """Thirteen pictures, each with a rectangle elsewhere; a bus is on the first alone."""
    scenes = [
        Scene(
            (60 + 3 * i, 130 - 4 * i),
            (
                Thing("bus" if i == 0 else CLASS_NAMES[i % 2], (5 + i, 7 + i, 45 + i, 40 + i)),
                Thing("car", (1, 1, 9, 9), difficult=True),
            ),
        )
        for i in range(13)
    ]
    root = tmp_path_factory.mktemp("voc")
    write_voc_tree(root, scenes)
    return read_split(root, "VOC2012:train", CLASS_NAMES)


def make(
    images: list[AnnotatedImage],
    options: LoaderOptions | None = None,
    augment: bool = True,
    **settings: Any,
) -> TrainingLoader:
    defaults: dict[str, Any] = {"batch_size": 4, "augmentation": VARIED}
    config = TrainingConfig(
        model=tiny_config(class_names=CLASS_NAMES, image_size=SIZE), **(defaults | settings)
    )
    return TrainingLoader(images, config, options, augment=augment)


def assert_same(first: Iterable[Batch], second: Iterable[Batch]) -> None:
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.targets, b.targets)
        assert torch.equal(a.unsure, b.unsure)


def test_batches_have_the_stated_form(images: list[AnnotatedImage]) -> None:
    loader = make(images)
    batches = list(loader.batches(0))
    assert len(batches) == loader.steps_per_epoch == 3
    for batch in batches:
        assert (batch.images.shape, batch.images.dtype) == ((4, 3, *SIZE), torch.uint8)
        assert (batch.targets.shape[1], batch.targets.dtype) == (6, torch.float32)
        index, label, cx, cy, width, height = batch.targets.unbind(1)
        assert set(index.tolist()) <= {0, 1, 2, 3}
        assert set(label.tolist()) <= {0, 1, 2}
        assert (cx - width / 2 >= -1e-3).all()
        assert (cx + width / 2 <= SIZE[1] + 1e-3).all()
        assert (cy - height / 2 >= -1e-3).all()
        assert (cy + height / 2 <= SIZE[0] + 1e-3).all()


def test_plain_batches_are_pictures_and_annotations_stretched(images: list[AnnotatedImage]) -> None:
    loader = make(images, augment=False, batch_size=13)
    (batch,) = loader.batches(0)
    order = loader.order(0)
    assert sorted(order) == list(range(13))
    assert batch.targets[:, 0].tolist() == list(range(13))
    pictures = batch.images.permute(0, 2, 3, 1).numpy()
    for picture, row, index in zip(pictures, batch.targets.numpy(), order, strict=True):
        whole = decode_rgb(images[index].image_path)
        assert np.array_equal(picture, cv2.resize(whole, SIZE[::-1]))
        height, width = images[index].size
        xmin, ymin, xmax, ymax = images[index].objects[0].box_xyxy
        scale = np.array([SIZE[1] / width, SIZE[0] / height] * 2)
        x0, y0, x1, y1 = np.array([xmin - 1, ymin - 1, xmax, ymax]) * scale
        expected = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
        np.testing.assert_allclose(row[2:], expected, rtol=1e-4)
        assert CLASS_NAMES[int(row[1])] == images[index].objects[0].class_name


def test_boxes_go_along_when_large_pictures_are_shrunk(images: list[AnnotatedImage]) -> None:
    whole, shrunk = (
        next(make(images, LoaderOptions(cache_side=side), augment=False).batches(0))
        for side in (512, 50)
    )
    assert torch.allclose(whole.targets, shrunk.targets, atol=1e-3)
    assert not torch.equal(whole.images, shrunk.images)


def test_a_cache_too_small_changes_nothing(images: list[AnnotatedImage], tmp_path: Path) -> None:
    for options in (
        LoaderOptions(cache_gib=1e-4),
        LoaderOptions(cache_gib=0),
        LoaderOptions(workers=1, cache_gib=1e-4, cache_folder=tmp_path),
    ):
        assert_same(make(images).batches(0), make(images, options).batches(0))


def test_difficult_objects_are_unsure_instead_of_targets(images: list[AnnotatedImage]) -> None:
    loader = make(images, augment=False, batch_size=13)
    (batch,) = loader.batches(0)
    assert (len(batch.targets), batch.unsure.dtype) == (13, torch.float32)
    assert batch.unsure[:, 0].tolist() == list(range(13))
    for row, index in zip(batch.unsure.numpy(), loader.order(0), strict=True):
        height, width = images[index].size
        (box,) = (item.box_xyxy for item in images[index].objects if item.difficult)
        scale = np.array([SIZE[1] / width, SIZE[0] / height] * 2)
        x0, y0, x1, y1 = np.array([box[0] - 1, box[1] - 1, box[2], box[3]]) * scale
        expected = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
        np.testing.assert_allclose(row[1:], expected, rtol=1e-4)


def test_pictures_with_difficult_objects_alone_teach_nothing(images: list[AnnotatedImage]) -> None:
    unsure = [
        replace(image, objects=tuple(replace(item, difficult=True) for item in image.objects))
        for image in images
    ]
    with pytest.raises(DatasetError, match="none of the 13 training pictures shows an object"):
        make(unsure)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_resumes_in_the_middle(images: list[AnnotatedImage], workers: int) -> None:
    whole = list(make(images).batches(5))
    for first_step in range(4):
        resumed = make(images, LoaderOptions(workers)).batches(5, first_step)
        assert_same(whole[first_step:], resumed)


def test_workers_change_nothing(images: list[AnnotatedImage]) -> None:
    alone, together = make(images), make(images, LoaderOptions(2))
    for epoch in range(2):
        assert_same(alone.batches(epoch), together.batches(epoch))
    in_a_row = itertools.chain(alone.batches(3, 1), alone.batches(4))
    assert_same(in_a_row, together.batches(3, 1, epochs=2))


def test_global_generators_neither_matter_nor_change(images: list[AnnotatedImage]) -> None:
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = list(make(images).batches(0))
    assert torch.equal(before[0], torch.get_rng_state())
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]  # noqa: NPY002
    torch.manual_seed(2)
    random.seed(2)
    assert_same(first, make(images).batches(0))


def test_albumentations_is_loaded_for_batches_alone() -> None:
    """It takes long, and asks its authors' server unless it is told not to."""
    code = "import sys, training.data; sys.exit('albumentations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_positions_epochs_and_seeds_differ(images: list[AnnotatedImage]) -> None:
    """In how they vary pictures, besides the order: all pictures are the same here."""
    first, later, reseeded = (
        next(make(images[:1] * 8, seed=seed).batches(epoch)).images
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    )
    assert len(torch.cat([first, later, reseeded]).flatten(1).unique(dim=0)) == 12


def test_mosaics_stop_after_their_epochs(images: list[AnnotatedImage]) -> None:
    config = AugmentationConfig(mosaic_probability=1, mosaic_epochs=1)
    single = AugmentationConfig(mosaic_probability=0)
    loader = make(images, augmentation=config)
    assert_same(loader.batches(1), make(images, augmentation=single).batches(1))
    boxes = sum(len(batch.targets) for batch in loader.batches(0))
    assert boxes > loader.steps_per_epoch * 4  # a picture alone has one


class TestRepeatFactors:
    def test_equation(self) -> None:
        # f = (1, 1/4, 1/4) for classes 0, 1, 2; sqrt(0.5 / 0.25) = sqrt 2
        labels = [np.array([0, 0, 1]), np.array([0]), np.array([0, 2]), np.array([0])]
        expected = [2**0.5, 1, 2**0.5, 1]
        np.testing.assert_allclose(repeat_factors(labels, 4, 0.5), expected)

    def test_off_and_empty(self) -> None:
        labels = [np.array([0]), np.array([], np.int64)]
        np.testing.assert_array_equal(repeat_factors(labels, 2, 0.0), [1, 1])
        np.testing.assert_array_equal(repeat_factors(labels[1:], 2, 0.5), [1])

    def test_rare_pictures_are_shown_as_often_as_stated(self, images: list[AnnotatedImage]) -> None:
        loader = make(images, repeat_threshold=0.48, batch_size=1)
        labels = [np.array([CLASS_NAMES.index(image.objects[0].class_name)]) for image in images]
        factors = repeat_factors(labels, 4, 0.48)
        assert factors[0] == pytest.approx((0.48 * 13) ** 0.5)
        assert loader.steps_per_epoch == int(factors.sum())
        counts = np.array([np.bincount(loader.order(e), minlength=13) for e in range(400)])
        assert (counts >= np.floor(factors)).all()
        assert (counts <= np.ceil(factors)).all()
        np.testing.assert_allclose(counts.mean(0), factors, atol=0.1)
        assert (counts.sum(1) >= loader.steps_per_epoch).all()

    def test_resumes_too(self, images: list[AnnotatedImage]) -> None:
        whole = list(make(images, repeat_threshold=0.48).batches(3))
        assert_same(whole[2:], make(images, LoaderOptions(1), repeat_threshold=0.48).batches(3, 2))


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_found_while_decoding_is_one_line(tmp_path: Path, workers: int) -> None:
    folder = write_voc_tree(tmp_path, [Scene()] * 8)
    damaged = read_split(tmp_path, "VOC2012:train", CLASS_NAMES)
    path = folder / "JPEGImages" / "000003.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    for cache_gib in (0.0, 1.0):
        loader = make(damaged, LoaderOptions(workers, cache_gib=cache_gib))
        with pytest.raises(DatasetError, match=r"^damaged .*000003\.jpg[^\n]*--skip-bad[^\n]*$"):
            list(loader.batches(0))


def test_a_killed_worker_is_told_in_one_line(images: list[AnnotatedImage]) -> None:
    batches = make(images, LoaderOptions(1), batch_size=1).batches(0)
    next(batches)
    for worker in multiprocessing.active_children():
        worker.kill()
    with pytest.raises(DataWorkerError, match="--workers 0"):
        list(batches)


def test_a_worker_of_another_thread_changes_nothing(images: list[AnnotatedImage]) -> None:
    """Only the main thread may say how the death of a process is noticed."""
    with ThreadPoolExecutor(1) as pool:
        helped = pool.submit(lambda: list(make(images, LoaderOptions(1)).batches(0))).result()
    assert_same(make(images).batches(0), helped)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": -1}, "workers must not be negative, not -1"),
        ({"cache_side": 0}, "cache_side must be at least 1, not 0"),
        ({"cache_gib": -1.0}, "cache_gib must not be negative, not -1"),
    ],
)
def test_options_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoaderOptions(**settings)


@pytest.mark.parametrize("arguments", [(-1,), (0, -1), (0, 4)])
def test_arguments_are_checked_at_once(images: list[AnnotatedImage], arguments: tuple[Any]) -> None:
    with pytest.raises(ConfigError, match="must "):
        make(images).batches(*arguments)


@pytest.mark.parametrize("count", [0, 3])
def test_too_few_pictures(images: list[AnnotatedImage], count: int) -> None:
    with pytest.raises(DatasetError, match=f"{count} pictures do not fill one batch of 4"):
        make(images[:count])
