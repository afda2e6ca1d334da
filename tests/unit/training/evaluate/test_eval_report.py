import json

import pytest
from evaluate_samples import truth_of

from spyv4.energy import Comparison, Operations
from training.evaluate.predictions import predictions_of_rows
from training.evaluate.report import to_json, to_table
from training.evaluate.scores import score_predictions

TRUTH = truth_of([(0, 0, (0, 0, 9, 9), False)])
PREDICTIONS = predictions_of_rows([(0, 0, (0, 0, 9, 9), 0.5)])


def test_the_table_has_a_line_for_every_number_of_reads_and_every_class():
    timed = score_predictions(PREDICTIONS, TRUTH, firing_rate=0.1234, ms_per_image=12.34)
    saved = score_predictions(PREDICTIONS, TRUTH)
    lines = to_table({"4": timed, "16": saved}, TRUTH, ["cat"]).splitlines()
    assert lines[0].split("  ")[0] == "reads"
    assert lines[1].split() == ["4", *["100.00"] * 6, "12.34", "12.3"]
    assert lines[2].split() == ["16", *["100.00"] * 6, "-", "-"]
    assert lines[5].split() == ["4", "0.500", *["100.00"] * 3]
    assert lines[9].split() == ["cat", "1", "100.00", "100.00"]
    assert lines[10].split() == ["dog", "0", "-", "-"]
    assert len({len(line) for line in lines[:3]}) == 1


def test_the_document_is_strict_json_with_shares():
    document = to_json(score_predictions(PREDICTIONS, TRUTH, coco=False, firing_rate=0.1))
    assert json.loads(json.dumps(document, allow_nan=False)) == {
        "map": 1.0,
        "map_11pt": 1.0,
        "mean_reads": None,
        "ap_per_class": {"cat": 1.0, "dog": None},
        "ap_11pt_per_class": {"cat": 1.0, "dog": None},
        "firing_rate": 0.1,
        "ms_per_image": None,
        "detections": 1,
        "operating_point": {"score_threshold": 0.5, "precision": 1.0, "recall": 1.0, "f1": 1.0},
    }


def test_what_a_picture_takes_is_in_the_document_and_in_a_table():
    network, twin = Operations(1500, 2e6, 1e6, 3e6, 0), Operations(0, 0, 1e6, 0, 7e6)
    scores = score_predictions(PREDICTIONS, TRUTH, coco=False, operations=Comparison(network, twin))
    document = to_json(scores)
    assert document["spikes"] == 1500
    assert document["synaptic_operations"] == 2e6
    assert document["multiply_accumulates"] == 4e6
    assert document["energy_mj"] == pytest.approx(1e-9 * (0.9 * 2e6 + 4.6 * 4e6))
    assert document["twin_energy_mj"] == pytest.approx(1e-9 * 4.6 * 8e6)
    lines = to_table({"4": scores}, TRUTH).splitlines()
    head = next(index for index, text in enumerate(lines) if "synaptic operations" in text)
    assert lines[head + 1].split() == ["4", "2k", "2,000k", "4,000k", "0.020", "0.037"]


def test_mean_reads_are_shown_where_they_are_no_matter_of_course():
    four, auto = (
        score_predictions(PREDICTIONS, TRUTH, coco=False, firing_rate=0.5, mean_reads=mean)
        for mean in (4.0, 2.345)
    )
    lines = to_table({"4": four, "auto": auto}, TRUTH).splitlines()
    assert lines[0].split("  ")[0] == "reads"
    assert "mean reads" in lines[0]
    assert [line.split()[:2] for line in lines[1:3]] == [["4", "4.00"], ["auto", "2.35"]]
    assert "mean reads" not in to_table({"4": four}, TRUTH)
    assert to_json(auto)["mean_reads"] == 2.345
