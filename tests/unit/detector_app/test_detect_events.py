"""`spyv4-detect` and the live view on recordings of event cameras."""

import importlib.util
import io
import json

import pytest

from detector_app.stream.hub import Hub
from detector_app.stream.sources import parse_source
from detector_app.window import print_lines
from spyv4 import Detector, ReadOptions
from tests.helpers.clips import read_clip
from tests.helpers.recordings import SIDE, moving_edge, write_aedat4, write_nmnist
from tests.unit.detector_app.detect_runs import files, lines, run

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "in" / "edge.bin"
    path.parent.mkdir()
    return write_nmnist(path, moving_edge())


def test_a_recording_gives_a_clip_and_a_line_a_frame(recording, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(recording, "--output", out) == 0
    assert files(out) == {"edge.mp4", "edge.jsonl"}
    told = lines(out / "edge.jsonl")
    assert [row["frame"] for row in told] == list(range(6))
    assert [row["time_s"] for row in told] == pytest.approx([n * 0.033 for n in range(6)], abs=1e-3)
    assert any(row["detections"] for row in told)
    copy = read_clip(out / "edge.mp4")
    assert copy.frames.shape == (6, SIDE, SIDE, 3)
    assert copy.rate == pytest.approx(1000 / 33, rel=1e-2)
    assert "6 frames" in capsys.readouterr().out


def test_frames_are_as_long_as_the_option_or_the_variable_says(recording, tmp_path, monkeypatch):
    def count(*options):
        assert run(recording, "--no-save", "--jsonl", tmp_path / "l", *options) == 0
        return len(lines(tmp_path / "l"))

    assert count("--event-window-ms", 10) == 19
    monkeypatch.setenv("SPYV4_EVENT_WINDOW_MS", "100")
    assert count() == 2
    assert count("--event-window-ms", 10) == 19


@pytest.mark.parametrize("length", ["0", "-5", "nan", "1e9"])
def test_lengths_that_cannot_be(recording, tmp_path, capsys, length):
    assert run(recording, "--output", tmp_path / "out", f"--event-window-ms={length}") == 2
    assert "event_window_ms must be" in capsys.readouterr().err


def test_a_damaged_recording_holds_up_no_other(recording, tmp_path, capsys):
    bad = recording.with_name("bad.bin")
    bad.write_bytes(b"1234")
    assert run(bad, recording, "--output", tmp_path / "out") == 2
    assert files(tmp_path / "out") == {"edge.mp4", "edge.jsonl"}
    assert "bad.bin has 4 bytes" in capsys.readouterr().err


def test_folders_give_aedat4_and_nothing_that_may_be_anything(recording, tmp_path):
    write_aedat4(recording.with_name("film.aedat4"), moving_edge())
    assert run(recording.parent, "--output", tmp_path / "out", "--every", 6) == 0
    assert files(tmp_path / "out") == {"film.mp4", "film.jsonl"}


def test_without_the_extra_nothing_is_begun(recording, tmp_path, capsys, monkeypatch):
    path = recording.with_name("film.aedat4")
    path.touch()
    monkeypatch.setattr(Detector, "load", lambda *_, **__: pytest.fail("a model is loaded"))
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "faery" else found(name)
    )
    assert run(path, "--output", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("recordings of event cameras need pip install 'spyv4[events]'")
    assert not (tmp_path / "out").exists()


def test_the_live_view_takes_one_as_a_clip(recording, detector):
    hub = Hub(detector, [parse_source(str(recording), event_window_ms=33.0)])
    hub.scheduler.start()
    told = io.StringIO()
    try:
        print_lines(hub, ReadOptions(reads=1).resolved(detector.config), told)
    finally:
        hub.stop()
    rows = [json.loads(line) for line in told.getvalue().splitlines()]
    assert rows
    assert hub.counts.captured == 6
