"""Batches of pictures that lie on a device: the same whoever lays them out."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.helpers.tiny_model import tiny_config
from tests.helpers.tiny_teacher import write_teacher
from tests.helpers.voc_tree import CLASS_NAMES
from tests.unit.training.data.test_loader import SIZE, assert_same, images, make
from training.config import AugmentationConfig, TrainingConfig
from training.data import AnnotatedImage, Batch, LoaderOptions, TrainingLoader
from training.data.sizes import image_sizes
from training.distillation.teacher import Teacher
from training.errors import OutOfMemoryError

__all__ = ["images"]  # a fixture
HERE = LoaderOptions(device=torch.device("cpu"), canvas_side=64)


def several(batches: Iterable[Batch]) -> list[Batch]:
    found = list(batches)
    assert len(found) > 1
    return found


def test_batches_have_the_stated_form(images: list[AnnotatedImage]) -> None:
    loader = make(images, HERE)
    batches = several(loader.batches(0))
    assert len(batches) == loader.steps_per_epoch == 3
    for batch in batches:
        assert (batch.images.shape, batch.images.dtype) == ((4, 3, *SIZE), torch.uint8)
        assert (batch.targets.shape[1], batch.targets.dtype) == (6, torch.float32)
        assert (batch.unsure.shape[1], batch.unsure.dtype) == (5, torch.float32)
        index, label, cx, cy, width, height = batch.targets.unbind(1)
        assert set(index.tolist()) <= {0, 1, 2, 3}
        assert set(label.tolist()) <= {0, 1, 2}
        assert (cx - width / 2 >= -1e-3).all()
        assert (cx + width / 2 <= SIZE[1] + 1e-3).all()
        assert (cy + height / 2 <= SIZE[0] + 1e-3).all()


def test_epochs_differ_and_come_again(images: list[AnnotatedImage]) -> None:
    first, second = (several(make(images, HERE).batches(epoch)) for epoch in (0, 1))
    assert not torch.equal(first[0].images, second[0].images)
    assert_same(first, make(images, HERE).batches(0))


def test_a_run_can_go_on_anywhere_with_other_workers(images: list[AnnotatedImage]) -> None:
    whole = several(make(images, HERE).batches(0, epochs=2))
    assert_same(whole[4:], make(images, replace(HERE, workers=2)).batches(1, 1))


def test_parts_are_those_of_the_whole(images: list[AnnotatedImage]) -> None:
    whole = several(make(images, HERE).batches(0))
    parts = [several(make(images, replace(HERE, part=(i, 2))).batches(0)) for i in range(2)]
    for batch, *halves in zip(whole, *parts, strict=True):
        assert torch.equal(batch.images, torch.cat([half.images for half in halves]))
        for name in ("targets", "unsure"):
            later = getattr(halves[1], name).clone()
            later[:, 0] += 2
            assert torch.equal(getattr(batch, name), torch.cat((getattr(halves[0], name), later)))


def test_sizes_may_vary(images: list[AnnotatedImage]) -> None:
    varied = AugmentationConfig(multi_scale=0.5)
    loader = make(images, HERE, augmentation=varied)
    sizes = {tuple(batch.images.shape[2:]) for batch in loader.batches(0, epochs=6)}
    assert sizes == set(image_sizes(SIZE, 0.5))
    assert len(sizes) == 3


def test_pictures_are_kept_as_large_as_they_are_drawn(images: list[AnnotatedImage]) -> None:
    """A square that is smaller than the batches is none."""
    still = AugmentationConfig(mosaic_probability=0, colour_probability=0, scale=(1, 1), aspect=0)
    seen = [
        next(make(images, replace(HERE, canvas_side=side), augmentation=still).batches(0)).images
        for side in (8, max(SIZE), 8 * max(SIZE))
    ]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_too_little_memory_for_the_pictures_is_said(
    images: list[AnnotatedImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    loader = make(images, HERE)
    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(OutOfMemoryError, match=r"small for the pictures, .* GiB; use another"):
        loader.prepare()


def test_the_teacher_sees_what_is_drawn(images: list[AnnotatedImage], tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    config = TrainingConfig(
        model=tiny_config(class_names=CLASS_NAMES, image_size=(64, 96)), batch_size=4
    )
    batch = next(TrainingLoader(images, config, HERE, teacher=path).batches(0))
    assert batch.teacher is not None
    wanted = Teacher(path, CLASS_NAMES)(batch.images.contiguous())
    for one, other in zip(
        (*batch.teacher.scores, *batch.teacher.features),
        (*wanted.scores, *wanted.features),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)
