"""Tables of `spyv4-detect` as saved detections."""

import json

import pytest

from spyv4.errors import TableError
from spyv4.tables import RUN_FILE, error_row, part_path, write_rows
from training.errors import DatasetError
from training.evaluate.prediction_files import read_predictions

pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
IMAGES, CLASSES = ("000001", "sub/000002.jpg"), ("cat", "dog")
CAT = {"class": "cat", "score": 0.25, "box_xyxy": [1.0, 2.0, 3.5, 4.0]}


def row(image, **more):
    return {"image": image, "width": 9, "height": 9, "reads": 1, "firing_rate": 0.5, **more}


BOTH = [row("/data/000001.jpg", **CAT), row("/data/sub/000002.jpg")]


def read(folder, rows, parts=1):
    folder.mkdir()
    (folder / RUN_FILE).write_text(json.dumps({"parts": parts}))
    write_rows(part_path(folder, 0), rows)
    return read_predictions(folder, IMAGES, CLASSES)


def test_boxes_are_continuous_as_they_were_found(tmp_path):
    found = read(tmp_path / "t.parquet", BOTH)
    assert found.boxes_xyxy.tolist() == [[1, 2, 3.5, 4]]
    assert (found.image_indices.tolist(), found.labels.tolist()) == ([0], [0])
    assert found.scores.tolist() == [0.25]


def test_one_file_is_read_too(tmp_path):
    write_rows(tmp_path / "t.parquet", BOTH)
    assert len(read_predictions(tmp_path / "t.parquet", IMAGES, CLASSES)) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (BOTH[:1], "lacks 1 of the 2 evaluated pictures"),
        ([*BOTH, row("/data/3.jpg")], "/data/3.jpg is not one of the 2 evaluated"),
        ([*BOTH, row("/data/000001.jpg", **CAT | {"class": "cow"})], "unknown class 'cow'"),
        ([*BOTH, error_row("/data/000001.jpg", "damaged")], "000001.jpg was not read: damaged"),
        ([*BOTH, row("/data/000001.jpg", frame=3)], "is a clip"),
    ],
)
def test_what_would_falsify_the_figures_is_refused(tmp_path, rows, message):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / "t.parquet", rows)


def test_a_table_that_is_not_complete_is_refused(tmp_path):
    with pytest.raises(TableError, match="lacks 1 of 2 parts"):
        read(tmp_path / "t.parquet", BOTH, parts=2)
