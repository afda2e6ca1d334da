"""A teacher is asked for what it thinks of every place, at any picture size."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from spyv4.config import VOC_CLASSES
from spyv4.errors import CheckpointError, ConfigError
from tests.helpers.tiny_teacher import CHANNELS, write_teacher
from training.distillation.coco_classes import COCO_CLASSES, coco_index
from training.distillation.teacher import STRIDES, Teacher


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.onnx")


def test_coco_has_eighty_classes_and_all_of_vocs() -> None:
    assert len(set(COCO_CLASSES)) == 80
    places = {name: coco_index(name) for name in (*VOC_CLASSES, "zebra", "nut")}
    assert (places["person"], places["sofa"], places["zebra"]) == (0, 57, 22)
    assert (places["tvmonitor"], places["motorbike"], places["nut"]) == (62, 3, None)
    assert len({places[name] for name in VOC_CLASSES} - {None}) == 20


def test_scores_and_features_are_those_of_the_file(path: Path) -> None:
    """At the size of the file, one picture: objectness times class, place by place."""
    images = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    view = Teacher(path, ("dog", "nut", "person"))(images)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"images": images.numpy()[:, ::-1].astype(np.float32)})
    first = 0
    for stride, scores, features in zip(STRIDES, view.scores, view.features, strict=True):
        side = 64 // stride
        rows = output[0, first : first + side * side].reshape(side, side, 85)
        first += side * side
        np.testing.assert_allclose(scores[0, 0], rows[..., 4] * rows[..., 5 + 16], atol=1e-3)
        np.testing.assert_allclose(scores[0, 2], rows[..., 4] * rows[..., 5], atol=1e-3)
        assert (scores[0, 1] == 0).all()
        assert features.shape == (1, CHANNELS, side, side)
        assert features.float().std() > 0.1


def test_other_sizes_and_batches_are_seen_alike(path: Path) -> None:
    """One teacher looks at any."""
    teacher = Teacher(path, ("dog",))
    assert teacher.own_size == (64, 64)
    teacher(torch.zeros(1, 3, 32, 128, dtype=torch.uint8))
    images = torch.randint(0, 255, (2, 3, 96, 64), dtype=torch.uint8)
    assert (teacher.known, teacher.channels) == ([0], CHANNELS)
    both, second = teacher(images), teacher(images[1:])
    assert [tuple(s.shape) for s in both.scores] == [(2, 1, 12, 8), (2, 1, 6, 4), (2, 1, 3, 2)]
    for one, other in zip(
        (*both.scores, *both.features), (*second.scores, *second.features), strict=True
    ):
        torch.testing.assert_close(one[1:], other, atol=2e-3, rtol=2e-3)


def test_what_is_no_teacher_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no teacher at"):
        Teacher(tmp_path / "none.onnx", ("dog",))
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(CheckpointError, match="is no ONNX file"):
        Teacher(tmp_path / "text.onnx", ("dog",))
    two = write_teacher(tmp_path / "two.onnx", levels=2)
    with pytest.raises(CheckpointError, match="it has 2 levels"):
        Teacher(two, ("dog",))
    with pytest.raises(ConfigError, match="knows none of the classes"):
        Teacher(path, ("nut", "bolt"))
