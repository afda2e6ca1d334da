import numpy as np
import pytest
from evaluate_samples import Box, random_case, truth_of
from hypothesis import given
from hypothesis import strategies as st

from training.data.voc import from_voc_pixels, to_voc_pixels
from training.evaluate.coco import coco_metrics
from training.evaluate.predictions import Predictions, predictions_of_rows
from training.evaluate.scores import score_predictions
from training.evaluate.voc_ap import average_precision, match_class, pairwise_iou

LEFT: Box = (0, 0, 10, 10)
RIGHT: Box = (50, 0, 60, 10)
FAR: Box = (200, 200, 210, 210)


def hits_of(truth_rows, rows):
    matches = match_class(predictions_of_rows(rows), truth_of(truth_rows), 0)
    return matches.true_positive.tolist()


def test_the_first_detection_of_a_box_is_true_and_its_duplicates_false():
    hits = hits_of(
        [(0, 0, LEFT, False), (0, 0, RIGHT, False)],
        [(0, 0, LEFT, 0.7), (0, 0, RIGHT, 0.6), (0, 0, LEFT, 0.9), (0, 0, LEFT, 0.65)],
    )
    assert hits == [True, False, False, True]


def test_detections_of_a_difficult_box_are_ignored_and_it_is_not_to_be_found():
    truth_rows = [(0, 0, LEFT, True), (0, 0, RIGHT, False)]
    rows = [(0, 0, LEFT, 0.9), (0, 0, LEFT, 0.8), (0, 0, RIGHT, 0.7), (0, 0, FAR, 0.6)]
    assert hits_of(truth_rows, rows) == [True, False]
    scores = score_predictions(predictions_of_rows(rows), truth_of(truth_rows), coco=False)
    assert scores.ap_per_class == {"cat": 1.0, "dog": None}
    assert scores.mean_ap() == 1.0


def test_a_detection_belongs_to_the_box_it_overlaps_most_even_if_that_one_is_taken():
    close: Box = (0, 0, 10, 9)
    rows = [(0, 0, LEFT, 0.9), (0, 0, (0, 0, 10, 9.9), 0.8)]
    assert pairwise_iou(np.array([rows[1][2]]), np.array([close])).item() > 0.5
    assert hits_of([(0, 0, LEFT, False), (0, 0, close, False)], rows) == [True, False]


def test_equal_scores_keep_the_order_in_which_they_were_given():
    truth_rows = [(0, 0, LEFT, False)]
    assert hits_of(truth_rows, [(0, 0, FAR, 0.5), (0, 0, LEFT, 0.5)]) == [False, True]
    assert hits_of(truth_rows, [(0, 0, LEFT, 0.5), (0, 0, FAR, 0.5)]) == [True, False]


def test_boxes_of_other_pictures_and_classes_do_not_match():
    rows = [(1, 0, LEFT, 0.9), (0, 1, LEFT, 0.8)]
    assert hits_of([(0, 0, LEFT, False)], rows) == [False]


def test_an_iou_of_exactly_one_half_is_enough():
    truth_rows = [(0, 0, (0, 0, 10, 10), False)]
    assert hits_of(truth_rows, [(0, 0, (0, 0, 10, 5), 0.9)]) == [True]
    assert hits_of(truth_rows, [(0, 0, (0, 0, 10, 4.99), 0.9)]) == [False]


def test_iou_counts_inclusive_pixels_as_the_devkit_does():
    one_pixel, two_pixels = np.array([[1.0, 1, 1, 1]]), np.array([[1.0, 1, 2, 1]])
    boxes = from_voc_pixels(one_pixel), from_voc_pixels(two_pixels)
    assert pairwise_iou(*boxes).item() == 0.5
    assert (to_voc_pixels(boxes[1]) == two_pixels).all()


def test_iou_of_empty_boxes_is_zero():
    empty = np.array([[3.0, 3, 3, 3]])
    assert pairwise_iou(empty, empty).item() == 0


@pytest.mark.parametrize(
    ("hits", "boxes", "expected"),
    [
        # True, false, true: precision 1 up to a recall of 1/2, then 2/3.
        ([1, 0, 1], 2, {"all": 5 / 6, "11": (6 + 5 * 2 / 3) / 11}),
        # A false positive first: precision 1/2, 2/3, 3/4 all lie under 3/4; recall ends at 3/10.
        ([0, 1, 1, 1], 10, {"all": 0.3 * 0.75, "11": 4 * 0.75 / 11}),
        ([], 3, {"all": 0.0, "11": 0.0}),
        ([0, 0], 3, {"all": 0.0, "11": 0.0}),
        ([1], 1, {"all": 1.0, "11": 1.0}),
    ],
)
def test_average_precision_of_hand_made_curves(hits, boxes, expected):
    for interpolation, value in expected.items():
        ap = average_precision(np.array(hits, dtype=bool), boxes, interpolation)
        assert ap == pytest.approx(value, abs=1e-12)


def test_a_class_without_boxes_has_no_average_precision_and_one_without_detections_has_zero():
    truth = truth_of([(0, 0, LEFT, False), (0, 2, LEFT, True)], classes=3)
    scores = score_predictions(predictions_of_rows([(0, 1, LEFT, 0.9)]), truth)
    assert scores.ap_per_class == {"cat": 0.0, "dog": None, "cow": None}
    assert scores.mean_ap() == scores.mean_ap_11pt() == 0.0
    assert scores.mean_ap(["dog", "cow"]) is None
    assert scores.coco["ap50"] == 0.0


def sampled_precision(hits, boxes):
    """COCO's: the mean at 101 recalls of the best precision from there on."""
    found = np.cumsum(hits)
    recall, precision = found / boxes, found / np.arange(1, len(hits) + 1)
    return np.mean([precision[recall >= t].max(initial=0) for t in np.linspace(0, 1, 101)])


@given(st.integers(0, 2**32 - 1))
def test_agrees_with_pycocotools_where_no_detection_can_find_two_boxes(seed):
    truth, predictions = random_case(seed)
    ours = [
        sampled_precision(match_class(predictions, truth, label).true_positive, boxes)
        for label, boxes in enumerate(truth.boxes_per_class.values())
        if boxes
    ]
    assert np.mean(ours) == pytest.approx(coco_metrics(predictions, truth)["ap50"], abs=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_perfect_detections_score_one_in_any_order(seed):
    truth, _ = random_case(seed)
    order = np.random.default_rng(seed).permutation(len(truth.labels))
    perfect = Predictions(
        truth.image_indices[order],
        truth.labels[order],
        truth.boxes_xyxy[order],
        np.linspace(0.1, 0.9, len(order)),
    )
    scores = score_predictions(perfect, truth, coco=False)
    assert set(scores.ap_per_class.values()) <= {1.0, None}
    assert set(scores.ap_11pt_per_class.values()) <= {1.0, None}
    assert scores.mean_ap() == scores.mean_ap_11pt() == 1.0


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_detections_does_not_matter(seed):
    truth, given_order = random_case(seed, spread=40)
    order = np.random.default_rng(seed).permutation(len(given_order))
    shuffled = Predictions(
        given_order.image_indices[order],
        given_order.labels[order],
        given_order.boxes_xyxy[order],
        given_order.scores[order],
    )
    assert score_predictions(shuffled, truth, coco=False) == score_predictions(
        given_order, truth, coco=False
    )
