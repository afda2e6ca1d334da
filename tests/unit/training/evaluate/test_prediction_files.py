import json

import numpy as np
import pytest
from evaluate_samples import random_case

from spyv4.types import Detections
from training.errors import DatasetError
from training.evaluate.prediction_files import read_predictions, write_predictions
from training.evaluate.predictions import predictions_of_detections, predictions_of_rows
from training.evaluate.scores import score_predictions

IMAGES, CLASSES = ("000001", "2008_000002"), ("cat", "dog")
ENTRY = {"image_id": "000001", "category": "dog", "bbox": [10, 20, 30, 40], "score": 0.9}


def read_json(tmp_path, content):
    path = tmp_path / "P.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_predictions(path, IMAGES, CLASSES)


def test_the_json_box_is_left_top_width_height(tmp_path):
    predictions = read_json(tmp_path, [ENTRY])
    assert predictions.boxes_xyxy.tolist() == [[10, 20, 40, 60]]
    assert (predictions.image_indices.tolist(), predictions.labels.tolist()) == ([0], [1])
    assert predictions.scores.tolist() == [0.9]


def test_the_devkit_counts_pixels_from_one_and_includes_the_last(tmp_path):
    (tmp_path / "comp4_det_test_dog.txt").write_text("2008_000002 0.5 11 21 40 60\n\n")
    predictions = read_predictions(tmp_path, IMAGES, CLASSES)
    assert predictions.boxes_xyxy.tolist() == [[10, 20, 40, 60]]
    assert (predictions.image_indices.tolist(), predictions.labels.tolist()) == ([1], [1])


def test_the_devkit_file_that_is_written_reads_as_documented(tmp_path):
    rows = [(0, 1, (10.0, 20.0, 40.0, 60.5), 0.25)]
    write_predictions(tmp_path, predictions_of_rows(rows), IMAGES, CLASSES)
    text = (tmp_path / "comp4_det_test_dog.txt").read_text()
    assert text == "000001 0.25 11.0 21.0 40.0 60.5\n"
    assert (tmp_path / "comp4_det_test_cat.txt").read_text() == ""


@pytest.mark.parametrize("name", ["P.json", "."])
def test_saved_detections_score_the_same_to_the_last_digit(tmp_path, name):
    truth, predictions = random_case(3, spread=60)
    as_float32 = predictions_of_rows(
        [
            (image, label, box, score)
            for image, label, box, score in zip(
                predictions.image_indices,
                predictions.labels,
                predictions.boxes_xyxy.astype(np.float32).tolist(),
                predictions.scores.astype(np.float32).tolist(),
                strict=True,
            )
        ]
    )
    write_predictions(tmp_path / name, as_float32, truth.image_ids, truth.class_names)
    again = read_predictions(tmp_path / name, truth.image_ids, truth.class_names)
    assert score_predictions(again, truth) == score_predictions(as_float32, truth)
    assert not list(tmp_path.glob("*.part"))


def test_detections_become_rows_in_the_order_of_the_pictures():
    found = [
        Detections(
            np.array([[0, 0, count, 1]] * count, dtype=np.float32).reshape(-1, 4),
            np.full(count, 0.5, dtype=np.float32),
            np.full(count, 1, dtype=np.int64),
            CLASSES,
            (10, 10),
            1,
        )
        for count in (0, 2, 1)
    ]
    predictions = predictions_of_detections(found)
    assert predictions.image_indices.tolist() == [1, 1, 2]
    assert predictions.boxes_xyxy[:, 2].tolist() == [2, 2, 1]
    assert predictions.labels.tolist() == [1, 1, 1]
    assert len(predictions_of_detections([])) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "P.json: not JSON"),
        ("[" * 100_000, "P.json: not JSON"),
        ({"a": 1}, "P.json: must hold a list"),
        ([ENTRY, 3], "entry 1: must be an object, not 3"),
        ([ENTRY, {"category": "dog"}], "entry 1: has no 'image_id'"),
        ([{**ENTRY, "category": "unicorn"}], "entry 0: unknown category 'unicorn'"),
        ([{**ENTRY, "image_id": "999999"}], "entry 0: unknown image_id '999999'"),
        ([{**ENTRY, "image_id": 1}], "entry 0: image_id must be text, not 1"),
        ([{**ENTRY, "score": float("nan")}], "entry 0: score must be a finite number, not nan"),
        ([{**ENTRY, "score": "0.9"}], "entry 0: score must be a finite number, not '0.9'"),
        ([{**ENTRY, "score": True}], "entry 0: score must be a finite number, not True"),
        ([{**ENTRY, "score": 10**400}], "entry 0: score must be a finite number, not 1000"),
        ([{**ENTRY, "bbox": [1, 2, -3, 4]}], "entry 0: box must not have negative sides"),
        ([{**ENTRY, "bbox": [1, 2, 3]}], "entry 0: bbox must be .x, y, width, height."),
        ([{**ENTRY, "bbox": [1, 2, 3, None]}], "entry 0: bbox must be a finite number, not None"),
        ([{**ENTRY, "bbox": 5}], "entry 0: bbox must be .x, y, width, height., not 5"),
    ],
)
def test_a_wrong_json_list_is_named_in_one_line(tmp_path, content, message):
    with pytest.raises(DatasetError, match=message) as error:
        read_json(tmp_path, content)
    assert "\n" not in str(error.value)
    assert "P.json" in str(error.value)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("comp4_det_test_unicorn.txt", "", "unknown class 'unicorn'"),
        ("comp4_det_test_dog.txt", "000001 0.5 1 2 3", "line 2: must be 'image_id score"),
        ("comp4_det_test_dog.txt", "000009 0.5 1 2 3 4", "line 2: unknown image_id '000009'"),
        ("comp4_det_test_dog.txt", "000001 nan 1 2 3 4", "line 2: a value must be a finite"),
        ("comp4_det_test_dog.txt", "000001 0.5 1 x 3 4", "line 2: a value must be a .* not 'x'"),
        ("comp4_det_test_dog.txt", "000001 0.5 9 2 3 4", "line 2: box must not have negative"),
        ("notes.txt", "", "has no files named comp4_det_test_CLASS.txt"),
    ],
)
def test_a_wrong_devkit_file_is_named_in_one_line(tmp_path, name, line, message):
    (tmp_path / name).write_text(f"000001 0.5 1 2 3 4\n{line}\n")
    with pytest.raises(DatasetError, match=message):
        read_predictions(tmp_path, IMAGES, CLASSES)


def test_two_devkit_files_of_one_class_are_refused(tmp_path):
    for split in ("test", "val"):
        (tmp_path / f"comp4_det_{split}_dog.txt").write_text("")
    with pytest.raises(DatasetError, match="are one class"):
        read_predictions(tmp_path, IMAGES, CLASSES)


def test_no_such_file_and_binary_files_are_named(tmp_path):
    with pytest.raises(DatasetError, match="no such file or folder"):
        read_predictions(tmp_path / "none.json", IMAGES, CLASSES)
    (tmp_path / "P.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="not a text file"):
        read_predictions(tmp_path / "P.json", IMAGES, CLASSES)
