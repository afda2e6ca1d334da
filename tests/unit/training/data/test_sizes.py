"""Multi-scale training: which sizes there are, and when."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from spyv4.errors import ConfigError
from tests.helpers.tiny_model import tiny_config
from tests.helpers.tiny_teacher import write_teacher
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.config import AugmentationConfig, TrainingConfig
from training.data import AnnotatedImage, LoaderOptions, TrainingLoader, read_split
from training.data.sizes import image_sizes, size_of_batch

SHARE = 0.5


def test_sizes_are_steps_of_32_around_the_nominal_one() -> None:
    assert image_sizes((320, 320), 0.2) == tuple((s, s) for s in (256, 288, 320, 352, 384))
    assert image_sizes((320, 320), 0.0) == image_sizes((320, 320), 0.09) == ((320, 320),)
    assert image_sizes((64, 320), 0.5) == ((32, 160), (64, 320), (96, 480))
    assert image_sizes((320, 32), 0.99)[0] == (32, 32)
    assert image_sizes((416, 416), 0.9)[0] == (64, 64)


def test_batches_have_all_sizes_alike_by_seed_epoch_and_step() -> None:
    drawn = [
        size_of_batch((96, 96), SHARE, 1, epoch, step) for epoch in (0, 1) for step in range(300)
    ]
    counts = Counter(drawn)
    assert set(counts) == set(image_sizes((96, 96), SHARE))
    assert min(counts.values()) > 150
    assert drawn[:300] != drawn[300:]
    assert drawn[:9] != [size_of_batch((96, 96), SHARE, 2, 0, step) for step in range(9)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[AnnotatedImage]:
    scenes = [Scene((60 + i, 90), (Thing("cat", (5, 7, 45 + i, 50)),)) for i in range(12)]
    root = tmp_path_factory.mktemp("voc")
    write_voc_tree(root, scenes)
    return read_split(root, "VOC2012:train", CLASS_NAMES)


def config(share: float) -> TrainingConfig:
    return TrainingConfig(
        model=tiny_config(class_names=CLASS_NAMES, image_size=(64, 64)),
        batch_size=2,
        augmentation=AugmentationConfig(multi_scale=share),
    )


def test_the_loader_makes_batches_of_these_sizes_wherever_it_starts(
    images: list[AnnotatedImage],
) -> None:
    settings = config(SHARE)
    whole = list(TrainingLoader(images, settings).batches(0, epochs=2))
    sizes = [tuple(batch.images.shape[2:]) for batch in whole]
    assert sizes == [size_of_batch((64, 64), SHARE, 0, *divmod(i, 6)) for i in range(12)]
    assert len(set(sizes)) == 3
    for batch, size in zip(whole, sizes, strict=True):
        cx, cy, width, height = batch.targets[:, 2:].unbind(1)
        assert (cx + width / 2 <= size[1] + 1e-3).all()
        assert (cy + height / 2 <= size[0] + 1e-3).all()
    assert max(float(batch.targets[:, 2:].max()) for batch in whole) > 64
    resumed = list(TrainingLoader(images, settings, LoaderOptions(workers=1)).batches(0, 4, 2))
    for one, other in zip(whole[4:], resumed, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


def test_without_augmentation_the_size_is_the_nominal_one(images: list[AnnotatedImage]) -> None:
    for batch in TrainingLoader(images, config(SHARE), augment=False).batches(0):
        assert batch.images.shape[2:] == (64, 64)


def test_a_teacher_looks_at_the_size_of_the_batch(
    images: list[AnnotatedImage], tmp_path: Path
) -> None:
    names = config(SHARE).model.class_names
    assert "cat" in names
    loader = TrainingLoader(images, config(SHARE), teacher=write_teacher(tmp_path / "t.onnx"))
    for batch in loader.batches(0):
        assert batch.teacher is not None
        height, width = batch.images.shape[2:]
        assert [tuple(scores.shape[2:]) for scores in batch.teacher.scores] == [
            (height // stride, width // stride) for stride in (8, 16, 32)
        ]


def test_a_share_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="multi_scale"):
        AugmentationConfig(multi_scale=1.0)
