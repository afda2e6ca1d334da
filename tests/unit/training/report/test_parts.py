"""Charts, pictures, and what is gathered for the page."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.helpers.report_page import drawn, findings, log
from tests.helpers.voc_tree import CLASS_NAMES
from training.data import Batch
from training.report.charts import COLOURS, chart, line
from training.report.findings import Mark
from training.report.gather import facts, read_log, series, settings
from training.report.pictures import BATCH_PICTURES, annotated, batch_pictures
from training.report.reads_charts import reads_charts
from training.report.run_charts import label_statistics, training_curves

GREY = np.full((100, 200, 3), 128, np.uint8)
BLUE = (11, 95, 165)


def pixels(source: str) -> np.ndarray:
    data = base64.b64decode(source.partition(";base64,")[2])
    return np.asarray(Image.open(io.BytesIO(data)))


def near(pixel: np.ndarray, colour: tuple[int, ...]) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() < 40)


def svg(source: str) -> str:
    return base64.b64decode(source.partition(";base64,")[2]).decode()


def test_a_box_is_drawn_where_it_is_in_the_colour_of_its_verdict() -> None:
    mark = Mark((50.0, 40.0, 150.0, 80.0), "cat", "right")
    image = pixels(annotated(GREY, [mark], side=400))
    assert image.shape == (200, 400, 3)
    assert near(image[120, 101], BLUE)  # the left side, twice as far from the corner
    assert near(image[158, 200], BLUE)
    assert near(image[120, 200], (128, 128, 128))
    missed = annotated(GREY, [mark._replace(kind="wrong")], side=400)
    assert near(pixels(missed)[120, 101], (209, 73, 91))


def test_boxes_and_labels_at_the_border_stay_in_the_picture() -> None:
    marks = [Mark((-30.0, -10.0, 260.0, 130.0), "a rather long name of a class", 1)] * 7
    image = pixels(annotated(GREY, marks))
    assert near(image[-1, 200], (209, 73, 91))


def test_the_boxes_of_a_batch_are_those_to_be_learned() -> None:
    images = torch.full((BATCH_PICTURES + 2, 3, 64, 64), 128, dtype=torch.uint8)
    targets = torch.tensor([[0.0, 0, 32, 32, 32, 16], [1, 1, 32, 32, 60, 60]])
    first, *rest = batch_pictures(Batch(images, targets), CLASS_NAMES)
    assert len(rest) == BATCH_PICTURES - 1
    side = pixels(first).shape[0]
    assert near(pixels(first)[side // 2, side // 4 + 1], BLUE)  # cx - width / 2 = 16
    assert near(pixels(first)[side // 2, side // 2], (128, 128, 128))
    assert near(pixels(rest[1])[side // 2, side // 2], (128, 128, 128))


def test_charts_follow_the_screen_and_name_their_axes() -> None:
    drawn_ = chart("title", lambda ax: line(ax, [1, 2], [3, 4], 0), labels=("reads", "mAP, %"))
    text = svg(drawn_.source)
    assert "prefers-color-scheme:dark" in text
    assert ">reads<" in text
    assert ">mAP, %<" in text
    body = text[text.index("</style>") :]
    assert COLOURS[0] not in body
    assert "var(--c0)" in body


def test_every_chart_names_both_axes(tmp_path: Path) -> None:
    images = drawn(tmp_path)
    charts = [
        *training_curves(log()),
        *label_statistics({"training": images}, CLASS_NAMES),
        *reads_charts(findings(images)),
    ]
    titles = [item.title for item in charts]
    assert len(set(titles)) == len(titles) == 14
    for item in charts:
        texts = svg(item.source)
        assert sum(f">{name}<" in texts for name in AXES) >= 2, item.title


AXES = (
    *("batches", "loss", "mAP, %", "learning rate", "share of neurons, %", "pictures per second"),
    *("ratio of the norms", "boxes", "class", "area of the box, % of the picture's", "reads"),
    *("share of the boxes, %", "share of the pictures, %", "estimated energy of a picture, mJ"),
    *("mAP at IoU 0.5, %", "layer, shallow to deep", "mean score, 0 to 1", "boxes shown"),
)


def test_a_log_without_figures_has_no_curves() -> None:
    assert list(training_curves([{"config": {}}])) == []
    titles = [item.title for item in training_curves([{"eval/map": 0.1, "global_step": 3}])]
    assert titles == ["mAP at IoU 0.5"]


def test_what_a_resumed_run_did_again_replaces_what_was_before(tmp_path: Path) -> None:
    lines = [
        {"config": {}},
        {"global_step": 19, "loss": 5.0},
        {"global_step": 39, "loss": 4.0},
        {"global_step": 39, "loss": 3.0},
        {"eval/map": 0.5, "global_step": 40},
        {"global_step": 59, "loss": None},
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"global_step": 79, "lo')
    entries = read_log(path)
    assert entries == lines
    assert series(entries, "loss") == ([19, 39], [5.0, 3.0])
    assert series(entries, "eval/map", 100) == ([40], [50.0])


def test_of_a_long_log_some_entries_are_shown_the_last_one_among_them() -> None:
    curve = series([{"global_step": step, "loss": 1.0} for step in range(10_000)], "loss")
    assert 500 <= len(curve.steps) <= 501
    assert curve.steps[-1] == 9_999
    assert curve.steps == sorted(curve.steps)


def test_settings_are_as_the_command_line_takes_them() -> None:
    values = {"epochs": 3, "model": {"reads": 4, "neuron": {"kind": "ltc"}}, "none": None}
    assert list(settings(values)) == [
        ("epochs", "3"),
        ("model.reads", "4"),
        ("model.neuron.kind", '"ltc"'),
        ("none", "null"),
    ]


def test_the_facts_name_machine_versions_and_command() -> None:
    known = facts()
    assert set(known) == {"command", "written", "machine", "system", "versions"}
    assert f"PyTorch {torch.__version__}" in known["versions"]
    assert all(known.values())
