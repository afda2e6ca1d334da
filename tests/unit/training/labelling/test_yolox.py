"""Boxes of a teacher."""

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.tiny_teacher import write_teacher
from tests.helpers.voc_tree import CLASS_NAMES, Scene, write_voc_tree
from training.data import read_split
from training.distillation.coco_classes import COCO_CLASSES
from training.distillation.teacher import Teacher
from training.labelling.yolox import decode_yolox, letterbox, run_teacher

SIZE = (64, 96)
PLACES = (8 * 12, 4 * 6, 2 * 3)


def test_decoding_by_hand() -> None:
    """One place a level: its cell by row and column, sides by powers of e."""
    flat = np.zeros((sum(PLACES), 85), np.float32)
    places = [12 * 3 + 5, PLACES[0] + 6 * 2 + 4, PLACES[0] + PLACES[1] + 2]
    for place, stride in zip(places, (8, 16, 32), strict=True):
        flat[place, :4] = [0.5, 0.25, np.log(2), np.log(stride / 8)]
        flat[place, 4] = 0.5
        flat[place, 5 + stride] = 0.8
    boxes, scores, labels = decode_yolox(flat, SIZE, 0.39)
    centres = [(8 * 5.5, 8 * 3.25), (16 * 4.5, 16 * 2.25), (32 * 2.5, 32 * 0.25)]
    halves = [(8, 4), (16, 16), (32, 64)]
    expected = [
        (x - w, y - h, x + w, y + h) for (x, y), (w, h) in zip(centres, halves, strict=True)
    ]
    np.testing.assert_allclose(boxes, expected, rtol=1e-5)
    np.testing.assert_allclose(scores, 0.4, rtol=1e-6)
    assert labels.tolist() == [8, 16, 32]
    assert len(decode_yolox(flat, SIZE, 0.41)[1]) == 0


def test_a_picture_keeps_its_shape_in_the_upper_left_corner() -> None:
    picture = np.full((100, 50, 3), 7, np.uint8)
    fitted, scale = letterbox(picture, SIZE)
    assert (fitted.shape, scale) == ((*SIZE, 3), 0.64)
    assert (fitted[:, :32] == 7).all()
    assert (fitted[:, 32:] == 114).all()


def test_boxes_are_in_pixels_of_the_picture_and_of_the_likeliest_class(tmp_path: Path) -> None:
    """Of a network of random weights, box by box, as its raw outputs have it."""
    write_voc_tree(tmp_path, [Scene((150, 90)), Scene((64, 64), ())])
    images = read_split(tmp_path, "VOC2012:train", CLASS_NAMES)
    teacher = Teacher(write_teacher(tmp_path / "teacher.onnx"), COCO_CLASSES)
    assert teacher.own_size == (64, 64)
    found = run_teacher(teacher, (64, 64), images, COCO_CLASSES, 0.3, 1.0)
    assert set(found.image_indices) == {0, 1}
    assert found.scores.min() >= 0.3
    height, width = images[0].size
    first = found.boxes_xyxy[found.image_indices == 0]
    assert (first >= 0).all()
    assert first[:, 2].max() == pytest.approx(width)
    assert first[:, 3].max() == pytest.approx(height, rel=0.05)
    # Of the classes asked for, those places where another one is likelier show nothing.
    labels, counts = np.unique(found.labels, return_counts=True)
    name = COCO_CLASSES[labels[counts.argmax()]]
    alone = run_teacher(teacher, (64, 64), images, ("nut", name), 0.3, 1.0)
    assert set(alone.labels) == {1}
    assert len(alone) == counts.max()
    merged = run_teacher(teacher, (64, 64), images, ("nut", name), 0.3, 0.0)
    assert 0 < len(merged) < len(alone)
