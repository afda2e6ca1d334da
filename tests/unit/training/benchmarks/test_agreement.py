"""The table that the rule of `auto` is chosen from."""

import json

from tests.helpers.report_page import drawn
from tests.unit.detector_app.lively import lively_detector
from training.benchmarks import agreement


def test_all_rules_stand_beside_all_numbers_of_reads(tmp_path, monkeypatch, capsys):
    drawn(tmp_path / "data")
    monkeypatch.setattr(
        agreement.Detector, "load", lambda *_, **__: lively_detector(score_threshold=0.62)
    )
    written = tmp_path / "e.json"
    options = ["--voc-root", str(tmp_path / "data"), "--eval", "VOC2012:train", "--limit", "3"]
    rules = ["--iou", "0.5", "--score", "0.1", "--margin", "0,1", "--max-reads", "3"]
    assert agreement.main([*options, *rules, "--json", str(written)]) == 0
    document = json.loads(written.read_text())
    assert document["images"] == 3
    strict, lenient = "IoU 0.5, score 0.1, margin 0", "IoU 0.5, score 0.1, margin 1"
    means = {row["reads"]: row["mean_reads"] for row in document["rows"]}
    assert list(means) == ["1", "2", "3", strict, lenient]
    assert means["3"] == 3
    assert means[lenient] == 2  # no box is sure
    assert 2 <= means[strict] <= 3
    assert f"| {lenient} | 2.00 |" in capsys.readouterr().out
