import pytest
from evaluate_samples import random_case, truth_of

from training.evaluate.coco import coco_metrics
from training.evaluate.predictions import predictions_of_rows


def test_perfect_detections_score_one_and_nothing_is_printed(capfd):
    truth, _ = random_case(1)
    rows = zip(truth.image_indices, truth.labels, truth.boxes_xyxy.tolist(), strict=True)
    perfect = predictions_of_rows([(*row, 0.5) for row in rows])
    metrics = coco_metrics(perfect, truth)
    assert {name: metrics[name] for name in ("ap", "ap50", "ap75", "ar")} == pytest.approx(
        {"ap": 1, "ap50": 1, "ap75": 1, "ar": 1}
    )
    assert capfd.readouterr().out == ""


def test_areas_and_iou_thresholds_are_told_apart():
    truth = truth_of([(0, 0, (0, 0, 20, 20), False), (0, 1, (0, 0, 200, 200), False)])
    rows = [(0, 0, (0, 0, 20, 12), 0.9), (0, 1, (0, 0, 200, 160), 0.9)]  # IoU 0.6 and 0.8
    metrics = coco_metrics(predictions_of_rows(rows), truth)
    expected = {"ap50": 1, "ap75": 0.5, "ap_small": 0.3, "ap_large": 0.7, "ap": 0.5, "ar": 0.5}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert metrics["ap_medium"] is None


def test_difficult_boxes_neither_help_nor_harm():
    truth = truth_of([(0, 0, (0, 0, 100, 100), False), (0, 0, (200, 0, 300, 100), True)])
    found, difficult = (0, 0, (0, 0, 100, 100), 0.5), (0, 0, (200, 0, 300, 100), 0.9)
    for rows in ([found], [found, difficult, difficult]):
        assert coco_metrics(predictions_of_rows(rows), truth)["ap"] == pytest.approx(1)


def test_no_detections_score_zero_and_no_boxes_score_nothing():
    nothing = predictions_of_rows([])
    assert coco_metrics(nothing, truth_of([(0, 0, (0, 0, 9, 9), False)]))["ap"] == 0
    assert coco_metrics(nothing, truth_of([]))["ap"] is None
