"""From detections to what a report shows of them, by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluate_samples import Box, random_case, truth_of
from hypothesis import given
from hypothesis import strategies as st

from spyv4.config import ModelConfig
from spyv4.errors import ArgumentError
from training.data.voc import AnnotatedImage
from training.evaluate.evaluation import Evaluation
from training.evaluate.findings import findings_of, read_twin
from training.evaluate.predictions import predictions_of_rows
from training.evaluate.scores import score_predictions
from training.report.findings import TwinFindings

LEFT: Box = (0, 0, 100, 100)
RIGHT: Box = (200, 0, 300, 100)
FAR: Box = (400, 400, 500, 500)
CONFIG = ModelConfig(class_names=("cat", "dog"))
ROWS = [(0, 0, LEFT, 0.9), (0, 1, RIGHT, 0.8), (1, 1, FAR, 0.7), (1, 0, LEFT, 0.2)]


@pytest.fixture
def evaluation(tmp_path):
    """Two pictures: on the first all is right, on the second nothing."""
    truth_rows = [(0, 0, LEFT, False), (0, 1, RIGHT, False), (1, 0, RIGHT, False)]
    truth = truth_of([*truth_rows, (1, 1, LEFT, True)])
    images = []
    for image_id in truth.image_ids:
        path = tmp_path / f"{image_id}.jpg"
        path.touch()
        images.append(AnnotatedImage(image_id, path, (600, 600), ()))
    few, all_ = predictions_of_rows(ROWS[:1]), predictions_of_rows(ROWS)
    scores = {key: score_predictions(p, truth, coco=False) for key, p in (("1", few), ("2", all_))}
    return Evaluation(images, truth, {"1": few, "2": all_}, scores, usual="2")


def test_scores_of_right_and_wrong_boxes_at_every_number_of_reads(evaluation):
    findings = findings_of(evaluation, CONFIG, "VOC2012:val")
    assert findings.score_threshold == 0.8  # where F1 is highest, at the usual number of reads
    first, second = findings.by_reads
    assert (first.reads, first.right, first.wrong) == ("1", (1, 0.9), (0, None))
    assert second.right == (2, pytest.approx(0.85))
    assert second.wrong == (0, None)
    assert (first.mean_ap, second.mean_ap) == (0.25, pytest.approx((0.5 + 1) / 2))
    assert first.operations is None
    assert (findings.reads, findings.images, findings.data) == ("2", 2, "VOC2012:val")


def test_boxes_below_the_threshold_are_not_shown_and_marks_say_what_they_are(evaluation):
    truth = evaluation.truth
    scores = evaluation.scores["2"]
    point = scores.operating_point._replace(score_threshold=0.1)
    scores = {**evaluation.scores, "2": replace(scores, operating_point=point)}
    findings = findings_of(replace(evaluation, scores=scores), CONFIG, "")
    best, worst = findings.best[0], findings.worst[0]
    assert best.path.stem == truth.image_ids[0]
    assert best.quality == pytest.approx((0.9 + 0.8) / 2)
    assert [(mark.text, mark.kind) for mark in best.truth] == [("cat", "right"), ("dog", "right")]
    # The highest score is drawn last, on top.
    assert [mark.text for mark in best.found] == ["dog 0.80", "cat 0.90"]
    assert best.found[1].box_xyxy == LEFT
    assert worst.quality == pytest.approx((-1 - 0.7) / 2)
    assert [(mark.text, mark.kind) for mark in worst.truth] == [
        ("cat missed", "wrong"),
        ("dog (difficult)", "ignored"),
    ]
    assert [(mark.text, mark.kind) for mark in worst.found] == [
        ("cat 0.20", "ignored"),
        ("dog 0.70 wrong", "wrong"),
    ]
    assert (len(findings.best), len(findings.worst)) == (1, 1)


def test_pictures_that_are_not_there_are_left_out(evaluation):
    evaluation.images[0].image_path.unlink()
    findings = findings_of(evaluation, CONFIG, "")
    assert findings.best == ()
    assert len(findings.worst) == 1


def test_where_nothing_is_right_boxes_are_shown_from_the_networks_own_score(evaluation):
    wrong = predictions_of_rows([(0, 1, FAR, 0.9)])
    scores = {"2": score_predictions(wrong, evaluation.truth, coco=False)}
    evaluation = replace(evaluation, predictions={"2": wrong}, scores=scores)
    findings = findings_of(evaluation, replace(CONFIG, score_threshold=0.33), "")
    assert findings.score_threshold == 0.33
    assert findings.by_reads[0].wrong == (1, 0.9)


@given(st.integers(0, 2**32 - 1))
def test_the_area_under_a_curve_is_the_average_precision(seed):
    truth, predictions = random_case(seed, spread=60)
    scores = score_predictions(predictions, truth, coco=False)
    images = [AnnotatedImage(name, Path(name), (9, 9), ()) for name in truth.image_ids]
    evaluation = Evaluation(images, truth, {"4": predictions}, {"4": scores}, "4")
    for item in findings_of(evaluation, CONFIG, "").classes:
        widths = np.diff(item.recall, prepend=0)
        area = float((widths * item.precision).sum())
        if item.average_precision is not None:
            assert area == pytest.approx(item.average_precision, abs=1e-12)
        assert (np.diff(item.precision) <= 0).all()
        assert ((item.recall >= 0) & (item.recall <= 1)).all()


def test_a_twin_is_read_from_what_its_evaluation_wrote(tmp_path):
    path = tmp_path / "twin.json"
    document = {"eval": "VOC2012:val", "images": 3, "by_reads": {"1": {"map": 0.5}}}
    document["by_reads"]["1"]["ms_per_image"] = 7.5
    path.write_text(json.dumps(document))
    assert read_twin(path, "VOC2012:val", 3) == TwinFindings(0.5, 7.5)
    with pytest.raises(ArgumentError, match="3 pictures of VOC2012:val, not of 4"):
        read_twin(path, "VOC2012:val", 4)
    with pytest.raises(ArgumentError, match="not of 3 of VOC2007:test"):
        read_twin(path, "VOC2007:test", 3)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"eval": "a", "images": 1, "by_reads": {}}'])
def test_what_is_no_evaluation_is_refused(tmp_path, content):
    path = tmp_path / "twin.json"
    path.write_text(content)
    with pytest.raises(ArgumentError, match=r"twin.json was not written by spyv4-eval --json"):
        read_twin(path, "VOC2012:val", 3)
