"""`spyv4-eval` with a detector, from pictures to files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spyv4 import Detector, ModelConfig, SPYv4
from spyv4.checkpoint import load_model, save_model
from training.commands.eval import eval_command
from training.evaluate.operating_point import OperatingPoint

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "VOCdevkit"
ANNOTATION = """<annotation><size><width>80</width><height>60</height></size><object>
<name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>40</ymax></bndbox>
</object></annotation>"""


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_model(SPYv4(ModelConfig(width_multiple=1 / 8, image_size=(64, 64))), path)
    return str(path)


@pytest.fixture
def year(tmp_path):
    """Three pictures of noise, the second cut short."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "val.txt").write_text("a\nb\nc\n")
    generator = np.random.default_rng(0)
    for image_id in "abc":
        (folder / "Annotations" / f"{image_id}.xml").write_text(ANNOTATION)
        picture = Image.fromarray(generator.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        picture.save(folder / "JPEGImages" / f"{image_id}.jpg")
    damaged = folder / "JPEGImages" / "b.jpg"
    damaged.write_bytes(damaged.read_bytes()[:700])
    return folder


def test_reads_in_one_run_and_its_saved_detections_score_the_same(weights, year, tmp_path, capsys):
    written, saved = tmp_path / "e.json", tmp_path / "P.json"
    where = ["--voc-root", str(year.parent), "--eval", "VOC2012:val", "--json", str(written)]
    run = ["--weights", weights, "--reads", "1,2", "--score-threshold", "0", "--skip-bad"]
    assert eval_command([*where, *run, "--save-predictions", str(saved)]) == 0
    document = json.loads(written.read_text())
    assert document["images"] == 2
    assert document["settings"]["image_size"] == [64, 64]
    assert list(document["by_reads"]) == ["1", "2"]
    for result in document["by_reads"].values():
        assert 0 <= result["firing_rate"] <= 1
        assert result["ms_per_image"] > 0
    assert "reads" in capsys.readouterr().out

    # Without pictures nothing shows that one is damaged.
    (year / "ImageSets" / "Main" / "val.txt").write_text("a\nc\n")
    assert eval_command([*where, "--reads", "2", "--predictions", str(saved)]) == 0
    again = json.loads(written.read_text())["by_reads"]["2"]
    before = document["by_reads"]["2"]
    assert before["detections"] > 0
    for key in ("ap_per_class", "ap_11pt_per_class", "detections"):
        assert again[key] == before[key]


def test_a_damaged_picture_stops_the_evaluation_and_is_named(weights, year, capsys):
    options = ["--voc-root", str(year.parent), "--eval", "VOC2012:val", "--weights", weights]
    assert eval_command(options) == 2
    assert str(year / "JPEGImages" / "b.jpg") in capsys.readouterr().err


def test_the_best_threshold_goes_into_the_weights(weights, year, tmp_path, monkeypatch):
    """What the evaluation reports is what the detector then shows by default."""
    written = tmp_path / "e.json"
    options = ["--voc-root", str(year.parent), "--eval", "VOC2012:val", "--weights", weights]
    options += ["--skip-bad", "--reads", "1,4", "--json", str(written), "--store-threshold"]
    before = load_model(Path(weights))
    point = OperatingPoint(0.123, 0.5, 0.25)
    monkeypatch.setattr("training.evaluate.scores.best_f1", lambda *_: point)
    assert eval_command(options) == 0
    after = load_model(Path(weights))
    assert after.config == replace(before.config, score_threshold=0.123)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, rtol=0, atol=0)
    reported = json.loads(written.read_text())["by_reads"]["4"]["operating_point"]
    assert reported["score_threshold"] == Detector.load(weights).config.score_threshold


def test_where_nothing_right_is_found_no_threshold_is_stored(weights, year, capsys):
    options = ["--voc-root", str(year.parent), "--eval", "VOC2012:val", "--weights", weights]
    options += ["--skip-bad", "--reads", "4", "--score-threshold", "1", "--store-threshold"]
    before = Path(weights).read_bytes()
    assert eval_command(options) == 2
    assert "nothing right was found" in capsys.readouterr().err
    assert Path(weights).read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--reads", "1,2"], "4 among --reads"),  # the network's own number
        (["--weights", "spyv4-nano"], "FILE.safetensors"),
    ],
)
def test_a_threshold_that_cannot_be_stored_is_known_at_once(weights, year, changed, said, capsys):
    options = ["--voc-root", str(year.parent), "--eval", "VOC2012:val", "--weights", weights]
    assert eval_command([*options, "--store-threshold", *changed]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.data
def test_real_pictures(weights, tmp_path):
    if not DATA.is_dir():
        pytest.skip("no ../shared/data")
    written = tmp_path / "e.json"
    options = ["--eval", "VOC2012:val", "--limit", "4", "--reads", "1", "--json", str(written)]
    assert eval_command(["--voc-root", str(DATA), "--weights", weights, *options]) == 0
    assert json.loads(written.read_text())["images"] == 4


def test_auto_beside_numbers_of_reads(weights, year, tmp_path, capsys):
    written, page, saved = (tmp_path / name for name in ("e.json", "e.html", "P.json"))
    options = ["--voc-root", str(year.parent), "--eval", "VOC2012:val", "--weights", weights]
    options += ["--skip-bad", "--reads", "auto,1,2", "--max-reads", "3", "--no-coco"]
    options += ["--json", str(written), "--report", str(page)]
    assert eval_command([*options, "--save-reads", "auto", "--save-predictions", str(saved)]) == 0
    document = json.loads(written.read_text())
    assert list(document["by_reads"]) == ["1", "2", "auto"]
    assert document["settings"]["max_reads"] == 3
    auto = document["by_reads"]["auto"]
    assert auto["mean_reads"] == 2  # nothing is found, and nothing again
    assert auto["detections"] == document["by_reads"]["2"]["detections"]
    assert auto["spikes"] == pytest.approx(document["by_reads"]["2"]["spikes"])
    assert "mean reads" in capsys.readouterr().out
    assert "auto, 2.0" in page.read_text()
    assert len(json.loads(saved.read_text())) == auto["detections"]


def test_auto_alone(weights, year, tmp_path):
    written, page = tmp_path / "e.json", tmp_path / "e.html"
    options = ["--voc-root", str(year.parent), "--eval", "VOC2012:val", "--weights", weights]
    options += ["--skip-bad", "--reads", "auto", "--no-coco"]
    assert eval_command([*options, "--json", str(written), "--report", str(page)]) == 0
    assert list(json.loads(written.read_text())["by_reads"]) == ["auto"]
    assert "as many reads as it takes" in page.read_text()
