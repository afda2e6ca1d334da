"""`spyv4-eval --predictions`: neither pictures nor a model."""

import json
from pathlib import Path

import pytest

from spyv4.checkpoint import save_model
from tests.helpers.tiny_model import tiny_model
from training.commands.eval import eval_command

DATA = Path(__file__).parents[2] / ".." / "shared" / "data" / "VOCdevkit"
OBJECT = """<object><name>{}</name><difficult>{}</difficult><bndbox>
<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""
OBJECTS = {
    "000001": [("dog", 0, 11, 21, 40, 60), ("cat", 1, 1, 1, 50, 50)],
    "000002": [("dog", 0, 1, 1, 100, 100), ("person", 0, 5, 5, 30, 90)],
}
DOGS = [
    {"image_id": "000001", "category": "dog", "bbox": [10, 20, 30, 40], "score": 0.9},
    {"image_id": "000002", "category": "dog", "bbox": [150, 0, 20, 20], "score": 0.8},
    {"image_id": "000002", "category": "dog", "bbox": [0, 0, 100, 100], "score": 0.7},
    {"image_id": "000001", "category": "cat", "bbox": [0, 0, 50, 50], "score": 0.6},
]


@pytest.fixture
def voc_root(tmp_path):
    """Two annotated pictures of 200 x 100 px, without the pictures."""
    year = tmp_path / "VOCdevkit" / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main"):
        (year / folder).mkdir(parents=True)
    (year / "ImageSets" / "Main" / "test.txt").write_text("\n".join(OBJECTS) + "\n")
    for image_id, objects in OBJECTS.items():
        body = "".join(OBJECT.format(*item) for item in objects)
        (year / "Annotations" / f"{image_id}.xml").write_text(
            f"<annotation><size><width>200</width><height>100</height></size>{body}</annotation>"
        )
    return year.parent


def evaluate(voc_root, tmp_path, *options, predictions=DOGS):
    """Exit code and the document written for a list of predictions."""
    saved = tmp_path / "P.json"
    saved.write_text(json.dumps(predictions))
    options = ("--predictions", str(saved), "--json", str(tmp_path / "out" / "e.json"), *options)
    code = eval_command(["--voc-root", str(voc_root), *options])
    path = tmp_path / "out" / "e.json"
    return code, json.loads(path.read_text()) if path.exists() else None


def test_saved_detections_are_scored_from_annotations_alone(voc_root, tmp_path, capsys):
    code, document = evaluate(voc_root, tmp_path, "--reads", "4", "--report-classes", "dog,cat")
    assert code == 0
    result = document["by_reads"]["4"]
    assert result["ap_per_class"]["dog"] == pytest.approx(5 / 6)
    assert result["ap_per_class"]["person"] == 0
    assert result["ap_per_class"]["cat"] is None
    assert result["map"] == pytest.approx(5 / 12)
    assert result["map_11pt"] == pytest.approx((6 + 5 * 2 / 3) / 11 / 2)
    assert (result["map_subset"], result["subset"]) == (pytest.approx(5 / 6), ["dog", "cat"])
    assert result["firing_rate"] is None
    assert result["coco"]["ap50"] == pytest.approx((51 + 50 * 2 / 3) / 101 / 2)
    assert document["boxes_per_class"]["dog"] == 2
    output = capsys.readouterr().out
    assert "VOC2007:test: 2 images" in output
    assert "41.67" in output
    assert "at least one box that is not difficult" in output


def test_both_kinds_of_files_score_the_same(voc_root, tmp_path):
    folder = tmp_path / "devkit"
    code, first = evaluate(voc_root, tmp_path, "--save-predictions", f"{folder}/")
    assert code == 0
    assert (folder / "comp4_det_test_dog.txt").read_text().splitlines()[0] == (
        "000001 0.9 11.0 21.0 40.0 60.0"
    )
    code, second = evaluate(voc_root, tmp_path, "--predictions", str(folder))
    assert code == 0
    assert second["by_reads"] == first["by_reads"]


def test_classes_come_from_the_weights_where_they_are_given(voc_root, tmp_path, capsys):
    weights = tmp_path / "own.safetensors"
    save_model(tiny_model(class_names=("person", "cat", "dog")), weights)
    code, document = evaluate(voc_root, tmp_path, "--weights", str(weights))
    assert code == 0
    assert list(document["boxes_per_class"]) == ["person", "cat", "dog"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--report-classes", "dog,unicorn"], "unknown class 'unicorn'"),
        (["--reads", "1,2"], "give --reads only one"),
        (["--eval", "VOC2007:train"], "no image set"),
        (["--eval", "VOC2007:test,VOC2007:test"], "'000001' comes more than once"),
        (["--save-reads", "3"], "--save-reads must be one of"),
        (["--json", "."], "--json must be a file"),
        (["--limit", "1"], "entry 1: unknown image_id '000002'"),
    ],
)
def test_a_wrong_option_is_told_in_one_line(voc_root, tmp_path, capsys, options, message):
    code, document = evaluate(voc_root, tmp_path, *options)
    assert (code, document) == (2, None)
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("--reads", "1,0"), ("--reads", "300"), ("--limit", "-1"), ("--score-threshold", "2")],
)
def test_a_value_out_of_range_is_a_usage_error(option, value, capsys):
    with pytest.raises(SystemExit) as stop:
        eval_command(["--voc-root", ".", option, value])
    assert stop.value.code == 2
    assert option in capsys.readouterr().err


@pytest.mark.data
def test_perfect_detections_of_real_annotations_score_one(tmp_path):
    if not DATA.is_dir():
        pytest.skip("no ../shared/data")
    from spyv4.config import VOC_CLASSES
    from training.data.voc import read_split
    from training.evaluate.ground_truth import ground_truth_of
    from training.evaluate.prediction_files import write_predictions
    from training.evaluate.predictions import predictions_of_rows

    images = read_split(DATA, "VOC2012:val", VOC_CLASSES, need_images=False)
    truth = ground_truth_of(images, VOC_CLASSES)
    rows = zip(truth.image_indices, truth.labels, truth.boxes_xyxy.tolist(), strict=True)
    perfect = predictions_of_rows([(*row, 0.5) for row in rows])
    saved, written = tmp_path / "P.json", tmp_path / "e.json"
    write_predictions(saved, perfect, truth.image_ids, truth.class_names)
    options = ["--eval", "VOC2012:val", "--no-coco", "--json", str(written)]
    assert eval_command(["--voc-root", str(DATA), "--predictions", str(saved), *options]) == 0
    result = json.loads(written.read_text())["by_reads"]["saved"]
    assert result["map"] == result["map_11pt"] == 1
    assert "coco" not in result
