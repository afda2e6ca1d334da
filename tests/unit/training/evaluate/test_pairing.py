import numpy as np
import pytest
from evaluate_samples import Box, truth_of

from training.evaluate.pairing import confusion_matrix, pair, picture_quality
from training.evaluate.predictions import predictions_of_rows

CAT, DOG = 0, 1
LEFT: Box = (0, 0, 10, 10)
LEFT_80: Box = (0, 0, 10, 8)  # IoU 0.8 with LEFT
RIGHT: Box = (50, 0, 60, 10)
FAR: Box = (200, 200, 210, 210)


def paired(truth_rows, rows):
    truth, predictions = truth_of(truth_rows), predictions_of_rows(rows)
    return truth, predictions, pair(predictions, truth)


def test_the_confusion_matrix_of_a_hand_made_case():
    truth, predictions, pairs = paired(
        [
            (0, CAT, LEFT, False),
            (0, DOG, RIGHT, False),
            (0, DOG, FAR, False),
            (1, CAT, LEFT, True),
            (1, DOG, RIGHT, False),
        ],
        [
            (0, CAT, LEFT_80, 0.9),  # right
            (0, CAT, LEFT, 0.8),  # again: shows nothing
            (0, CAT, RIGHT, 0.7),  # a dog taken for a cat
            (1, CAT, LEFT, 0.6),  # on a difficult box: ignored
            (1, DOG, LEFT, 0.5),  # likewise
            (1, DOG, FAR, 0.4),  # shows nothing
        ],
    )
    found_as_cat, found_as_dog, missed = 0, 1, 2
    matrix = confusion_matrix(predictions, truth, pairs)
    expected = np.zeros((3, 3), int)
    expected[CAT, found_as_cat] = 1
    expected[DOG, found_as_cat] = 1
    expected[DOG, missed] = 2  # FAR of the first picture, RIGHT of the second
    expected[2, found_as_cat] = 1
    expected[2, found_as_dog] = 1
    assert matrix.tolist() == expected.tolist()
    assert pairs.right.tolist() == [True, *[False] * 5]
    assert pairs.counted.tolist() == [True, True, True, False, False, True]
    # The dog that was taken for a cat was not found as a dog.
    assert pairs.missed.tolist() == [False, True, True, False, True]


def test_the_quality_of_a_picture_is_the_mean_of_what_went_well_and_what_did_not():
    truth, predictions, pairs = paired(
        [(0, CAT, LEFT, False), (0, DOG, RIGHT, False), (1, DOG, RIGHT, False)],
        [(0, CAT, LEFT_80, 0.5), (0, CAT, FAR, 0.3)],
    )
    mean, total = picture_quality(predictions, truth, pairs)
    assert total.tolist() == pytest.approx([0.8 * 0.5 - 1 - 0.3, -1])
    assert mean.tolist() == pytest.approx([(0.8 * 0.5 - 1 - 0.3) / 3, -1])


def test_a_picture_with_nothing_on_it_has_no_quality():
    truth, predictions, pairs = paired([(0, CAT, LEFT, True)], [(0, CAT, LEFT, 0.9)])
    mean, total = picture_quality(predictions, truth, pairs)
    assert np.isnan(mean).all()
    assert total.tolist() == [0, 0]


def test_the_best_score_chooses_first_and_each_box_is_shown_once():
    truth, _, pairs = paired([(0, CAT, LEFT, False)], [(0, CAT, LEFT, 0.4), (0, DOG, LEFT_80, 0.6)])
    assert pairs.owner.tolist() == [-1, 0]
    assert pairs.iou.tolist() == pytest.approx([0, 0.8])
    assert not pairs.right.any()
    assert pairs.missed.tolist() == [True]
    assert len(truth.labels) == 1


def test_boxes_of_another_picture_or_below_one_half_are_not_shown():
    rows = [(1, CAT, LEFT, 0.9), (0, CAT, (0, 0, 10, 4.9), 0.8)]
    _, _, pairs = paired([(0, CAT, LEFT, False)], rows)
    assert pairs.owner.tolist() == [-1, -1]


def test_without_boxes_or_detections_all_is_empty():
    truth, predictions, pairs = paired([], [])
    assert confusion_matrix(predictions, truth, pairs).sum() == 0
    truth, predictions, pairs = paired([(0, CAT, LEFT, False)], [])
    assert confusion_matrix(predictions, truth, pairs).tolist() == [[0, 0, 1], [0] * 3, [0] * 3]
