import pytest
from evaluate_samples import random_case, truth_of

from training.evaluate.operating_point import best_f1
from training.evaluate.predictions import predictions_of_rows
from training.evaluate.voc_ap import match_class

BOX, FAR = (0, 0, 100, 100), (200, 200, 300, 300)
TRUTH = truth_of([(0, 0, BOX, False), (0, 1, FAR, False), (1, 0, BOX, True)])


def test_the_threshold_of_the_best_f1_over_all_classes():
    rows = [(0, 0, BOX, 0.81234), (1, 1, BOX, 0.7), (0, 1, FAR, 0.41239), (0, 0, FAR, 0.2)]
    point = best_f1(predictions_of_rows(rows), TRUTH)
    # F1 after each: 2/3, 1/2, 4/5, 2/3.
    assert point.score_threshold == pytest.approx(0.412)
    assert point.precision == pytest.approx(2 / 3)
    assert point.recall == 1
    assert point.f1 == pytest.approx(0.8)


def test_a_difficult_box_counts_neither_way():
    rows = [(0, 0, BOX, 0.9), (1, 0, BOX, 0.8), (0, 1, FAR, 0.7)]
    point = best_f1(predictions_of_rows(rows), TRUTH)
    assert (point.precision, point.recall) == (1, 1)


def test_boxes_are_merged_as_people_see_them():
    """An IoU of 0.41: two boxes where average precision is measured, one in what is shown."""
    double = (0, 42, 100, 142)
    rows = [(0, 0, BOX, 0.9), (0, 0, double, 0.8), (0, 1, FAR, 0.7)]
    assert best_f1(predictions_of_rows(rows), TRUTH).precision == 1


def test_equal_scores_are_shown_together():
    rows = [(0, 0, BOX, 0.5), (1, 1, BOX, 0.5), (0, 1, FAR, 0.5)]
    assert best_f1(predictions_of_rows(rows), TRUTH).precision == pytest.approx(2 / 3)


def test_nothing_right_has_no_operating_point():
    assert best_f1(predictions_of_rows([]), TRUTH) is None
    assert best_f1(predictions_of_rows([(0, 1, BOX, 0.9)]), TRUTH) is None


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_does_better(seed):
    truth, predictions = random_case(seed)
    point = best_f1(predictions, truth)
    boxes = int((~truth.difficult).sum())
    for score in sorted(set(predictions.scores)):
        chosen = [
            (int(i), int(label), box.tolist(), float(s))
            for i, label, box, s in zip(
                predictions.image_indices,
                predictions.labels,
                predictions.boxes_xyxy,
                predictions.scores,
                strict=True,
            )
            if s >= score
        ]
        other = best_f1(predictions_of_rows(chosen), truth)
        if other is not None:
            assert other.f1 <= point.f1 + 1e-9
    hits = sum(match_class(predictions, truth, label).true_positive.sum() for label in range(3))
    assert point.recall <= hits / boxes
