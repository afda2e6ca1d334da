from pathlib import Path

import pytest
from evaluate_samples import truth_of

from training.data.voc import AnnotatedImage, ObjectAnnotation
from training.errors import DatasetError
from training.evaluate.ground_truth import ground_truth_of


def test_boxes_are_counted_from_zero_and_by_class_without_the_difficult():
    things = (
        ObjectAnnotation("dog", (1, 1, 10, 20), difficult=False),
        ObjectAnnotation("dog", (5, 6, 7, 8), difficult=True),
    )
    images = [
        AnnotatedImage("a", Path("a.jpg"), (50, 60), ()),
        AnnotatedImage("b", Path("b.jpg"), (50, 60), things),
    ]
    truth = ground_truth_of(images, ("cat", "dog"))
    expected = truth_of([(1, 1, (0, 0, 10, 20), False), (1, 1, (4, 5, 7, 8), True)])
    assert (truth.boxes_xyxy == expected.boxes_xyxy).all()
    assert truth.image_indices.tolist() == truth.labels.tolist() == [1, 1]
    assert truth.boxes_per_class == {"cat": 0, "dog": 1}


def test_no_pictures_are_no_ground_truth():
    with pytest.raises(DatasetError, match="no picture to evaluate on"):
        ground_truth_of([], ("cat",))
