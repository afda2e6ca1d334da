"""Tables of `spyv4-detect`: what is in them, and how a run goes on."""

import json
from pathlib import Path

import cv2
import pytest

from detector_app.bulk.parts import cut, digest
from detector_app.bulk.working import Worker
from detector_app.commands.detect import detect_command
from detector_app.detecting.inputs import Input
from detector_app.stream.demo import DemoSource
from spyv4 import Detector
from spyv4.errors import TableError
from spyv4.tables import RUN_FILE, read_rows
from tests.helpers.clips import write_clip
from tests.unit.detector_app.detect_runs import run

pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def many(tmp_path):
    """Seven pictures that differ, one of which is damaged."""
    folder = tmp_path / "in"
    folder.mkdir()
    demo = DemoSource()
    for index in range(7):
        cv2.imwrite(str(folder / f"{index}.jpg"), demo.frame(40 * index))
    damaged = folder / "3.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-3000])
    return folder


def inputs(*names):
    return [Input(Path(name), Path(name).with_suffix("")) for name in names]


def test_parts_are_contiguous_pieces_of_the_sorted_inputs():
    parts = cut(inputs("d.jpg", "a.jpg", "c.mp4", "b.jpg", "e.jpg", "f.jpg"), 2)
    assert [[str(item.path) for item in part.inputs] for part in parts] == [
        ["a.jpg", "b.jpg"],
        ["c.mp4"],
        ["d.jpg", "e.jpg"],
        ["f.jpg"],
    ]
    assert [part.number for part in parts] == [0, 1, 2, 3]
    assert digest(parts) != digest(cut(inputs("a.jpg", "b.jpg", "c.mp4", "d.jpg", "e.jpg"), 2))
    assert digest(cut(inputs("a.jpg", "b.jpg"), 1)) != digest(cut(inputs("a.jpg", "b.jpg"), 2))


def test_a_table_has_what_detect_finds(many, tmp_path, detector, capsys):
    out = tmp_path / "found.parquet"
    assert run(many, "--output", out, "--partition", 3, "--score", 0.1, reads=2) == 2
    assert "3.jpg" in capsys.readouterr().err
    rows = read_rows(out)
    assert [path.name for path in sorted(out.glob("*.parquet"))] == [
        f"part-0000{number}.parquet" for number in range(3)
    ]
    for path in sorted(many.iterdir()):
        of_it = [row for row in rows if row["image"] == str(path)]
        if path.name == "3.jpg":
            assert [bool(row["error"]) for row in of_it] == [True]
            continue
        found = detector.detect(path, 2, score_threshold=0.1, activity=True)
        assert len(of_it) == len(found) > 0
        for row, name, score, box in zip(
            of_it, found.names, found.scores, found.boxes_xyxy.tolist(), strict=True
        ):
            assert row["class"] == name
            assert row["score"] == pytest.approx(score, abs=1e-5)
            assert row["box_xyxy"] == pytest.approx(box, abs=1e-2)
            assert (row["reads"], row["error"], row["frame"]) == (2, None, None)
            assert (row["height"], row["width"]) == found.image_size
            rates = [*found.firing_rates.values()]
            assert row["firing_rate"] == pytest.approx(sum(rates) / len(rates), rel=1e-4)


def test_a_picture_without_objects_has_a_row(many, tmp_path):
    out = tmp_path / "parquet"
    assert run(many / "0.jpg", "--output", out, "--score", 1) == 0
    (row,) = read_rows(out)
    assert row["class"] is row["score"] is row["box_xyxy"] is None
    assert 0 < row["firing_rate"] < 1


def test_a_clip_has_a_file_and_its_frames_their_numbers(tmp_path):
    clip = write_clip(tmp_path / "in" / "clip.mp4", frames=7)
    cv2.imwrite(str(tmp_path / "in" / "a.jpg"), DemoSource().frame(0))
    out = tmp_path / "found.parquet"
    assert run(tmp_path / "in", "--output", out, "--every", 3) == 0
    rows = read_rows(out / "part-00001.parquet")
    assert {row["image"] for row in rows} == {str(clip)}
    assert sorted({row["frame"] for row in rows}) == [0, 3, 6]
    assert {row["frame"] for row in read_rows(out / "part-00000.parquet")} == {None}


def test_a_run_goes_on_where_it_ended(many, tmp_path, monkeypatch, capsys):
    out = tmp_path / "found.parquet"
    looked, look = [], Worker.__call__

    def watch(worker, part):
        looked.append(part.number)
        if len(looked) == 2:
            raise OSError("the disk is full")
        return look(worker, part)

    monkeypatch.setattr(Worker, "__call__", watch)
    (many / "3.jpg").unlink()
    assert run(many, "--output", out, "--partition", 2) == 1
    with pytest.raises(TableError, match="lacks 2 of 3 parts"):
        read_rows(out)
    written = (out / "part-00000.parquet").stat().st_mtime_ns
    (out / "part-00001.parquetabc.part").write_bytes(b"what a killed process left")
    assert run(many, "--output", out, "--partition", 2) == 0
    assert looked == [0, 1, 1, 2]
    assert "2 of 3 parts, 1 done before" in capsys.readouterr().out
    assert (out / "part-00000.parquet").stat().st_mtime_ns == written
    assert not list(out.glob("*.part"))
    assert run(many, "--output", out, "--partition", 2) == 0
    assert looked == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--partition", 2), "pictures a part"),
        (("--score", 0.6), "score_threshold"),
        (("--precision", "float32"), "runtime"),
        (("--every", 2), "every"),
    ],
)
def test_other_wishes_do_not_go_on(many, tmp_path, capsys, options, what):
    out = tmp_path / "found.parquet"
    (many / "3.jpg").unlink()
    assert run(many, "--output", out) == 0
    assert run(many, "--output", out, *options) == 2
    error = capsys.readouterr().err
    assert f"another {what} (" in error
    assert "name another --output" in error


def test_another_picture_does_not_go_on(many, tmp_path, capsys):
    out = tmp_path / "found.parquet"
    (many / "3.jpg").unlink()
    assert run(many, "--output", out) == 0
    (many / "0.jpg").rename(many / "9.jpg")
    assert run(many, "--output", out) == 2
    assert "another inputs (" in capsys.readouterr().err


def test_the_way_of_reading_of_the_first_start_is_that_of_all(many, tmp_path, monkeypatch):
    """Another machine would find another one the fastest."""
    out = tmp_path / "found.parquet"
    (many / "3.jpg").unlink()
    assert run(many, "--output", out) == 0
    path = out / RUN_FILE
    facts = json.loads(path.read_text())
    assert facts["settled"] == {"precision": "float32", "compile": False}
    facts["settled"] = {"precision": "bfloat16", "compile": True}
    path.write_text(json.dumps(facts))
    asked, load = [], Detector.load

    def note(*arguments, **options):
        asked.append((options.pop("precision"), options.pop("compile")))
        return load(*arguments, **options)

    monkeypatch.setattr(Detector, "load", note)
    assert run(many, "--output", out) == 0
    assert asked == [("auto", False), ("bfloat16", True)]


def test_a_folder_of_other_files_is_left_alone(many, tmp_path, capsys):
    out = tmp_path / "found.parquet"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert run(many, "--output", out) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("a.parquet", ("--json", "x.json"), "--json is for other kinds of --output"),
        ("a.parquet", ("--track",), "--track is for other kinds of --output"),
        ("a.parquet", ("--actors", 2), "--actors is for --ray"),
        ("a", ("--partition", 2), "--partition is for --output NAME.parquet"),
        ("a", ("--ray",), "--ray is for --output NAME.parquet"),
    ],
)
def test_options_of_the_other_kind_are_refused(many, tmp_path, capsys, output, options, message):
    assert run(many, "--output", tmp_path / output, *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / output).exists()


def test_a_pattern_names_pictures_in_any_folder(many, tmp_path, capsys):
    (many / "more").mkdir()
    (many / "0.jpg").rename(many / "more" / "0.jpg")
    out = tmp_path / "found.parquet"
    assert detect_command([f"{many}/**/[01].jpg", "--output", str(out), "--reads", "1"]) == 0
    assert {Path(row["image"]).name for row in read_rows(out)} == {"0.jpg", "1.jpg"}
    assert detect_command([f"{many}/*.gif", "--output", str(tmp_path / "b.parquet")]) == 2
    assert "matches no pictures" in capsys.readouterr().err


def test_what_is_no_table_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(TableError, match=r"a\.parquet is no table"):
        read_rows(path)
