import json
import subprocess
import sys

import cv2
import pytest

from detector_app import cli, window
from detector_app.annotate import STATUS_HEIGHT
from detector_app.cli import listen, serve_command, webcam_command
from detector_app.demo import DemoSource
from detector_app.detect_cli import detect_command
from detector_app.errors import SourceError, SourceLostError
from detector_app.pipeline import Pipeline
from detector_app.settings import Settings
from detector_app.window import watch
from spyv4 import Detector, ReadOptions
from tests.unit.detector_app.scripted import ScriptedSource


@pytest.fixture(autouse=True)
def tiny(detector, monkeypatch):
    """The commands load the tiny model."""
    monkeypatch.setattr(Detector, "load", lambda *_args, **_options: detector)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(folder / name), DemoSource().frame(0))
    return folder


def test_pictures_and_json_are_written(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(pictures), "--output", str(out), "--json", str(out / "boxes.json")]
    assert detect_command([*arguments, "--reads", "2", "--score-threshold", "0.01"]) == 0
    assert {path.name for path in out.iterdir()} == {"a.png", "b.png", "boxes.json"}
    found = json.loads((out / "boxes.json").read_text())
    assert set(found) == {str(pictures / "a.png"), str(pictures / "b.jpg")}
    assert "a.png" in capsys.readouterr().out


def test_a_bad_picture_is_named_and_the_others_are_done(pictures, tmp_path, capsys):
    (pictures / "aa.jpg").write_bytes((pictures / "b.jpg").read_bytes()[:-3000])
    out = tmp_path / "out"
    code = detect_command([str(pictures), "nowhere.png", "--output", str(out), "--reads", "1"])
    assert code == 2
    assert {path.name for path in out.iterdir()} == {"a.png", "b.png"}
    errors = capsys.readouterr().err
    assert "aa.jpg" in errors
    assert "nowhere.png does not exist" in errors


def test_inputs_are_never_overwritten(pictures, capsys):
    before = (pictures / "a.png").read_bytes()
    assert detect_command([str(pictures), "--output", str(pictures), "--reads", "1"]) == 0
    assert (pictures / "a.png").read_bytes() == before
    assert {p.name for p in pictures.iterdir()} == {"a.png", "a-2.png", "b.jpg", "b.png"}
    assert detect_command([str(pictures), "--json", str(pictures / "a.png")]) == 2
    assert "would overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["--score-threshold", "--score", "--conf"])
def test_the_score_threshold_has_three_names(pictures, tmp_path, name):
    def shown(*options):
        boxes = tmp_path / "boxes.json"
        common = [str(pictures / "a.png"), "--output", str(tmp_path), "--json", str(boxes)]
        assert detect_command([*common, "--reads", "1", *options]) == 0
        (found,) = json.loads(boxes.read_text()).values()
        return [item["score"] for item in found]

    everything = shown(name, "0")
    middle = sorted(everything)[len(everything) // 2]
    assert 0 < len(shown(name, str(middle))) < len(everything)
    with pytest.raises(SystemExit, match="2"):
        shown(name, "1.5")


@pytest.mark.parametrize("reads", ["0", "10000"])
def test_reads_out_of_range(pictures, tmp_path, reads, capsys):
    out = tmp_path / "out"
    assert detect_command([str(pictures), "--output", str(out), "--reads", reads]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_more_reads_than_clients_may_ask_for(pictures, tmp_path, capsys):
    for command in (serve_command, webcam_command):
        assert command(["--port", "0", "--reads", "33"]) == 2
        assert "reads must be at most 32, not 33" in capsys.readouterr().err
        assert command(["--port", "0", "--reads", "9", "--max-reads", "8"]) == 2
        assert "--max-reads" in capsys.readouterr().err
    assert detect_command([str(pictures), "--output", str(tmp_path / "o"), "--reads", "33"]) == 0


def test_a_taken_port_is_known_before_the_model_is_loaded(monkeypatch, capsys):
    monkeypatch.setattr(Settings, "load_detector", lambda _: pytest.fail("loaded the model"))
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert serve_command(["--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"spyv4-serve: error: cannot listen on 127.0.0.1 port {port}")
    assert "--port" in error


def test_a_missing_source_ends_the_commands(capsys):
    assert serve_command(["--port", "0", "--source", "nowhere.mp4"]) == 2
    assert webcam_command(["--port", "0", "--source", "91", "--view", "browser"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in errors] == ["spyv4-serve", "spyv4-webcam"]
    assert "camera 91 cannot be opened" in errors[1]


def test_no_window_without_a_display(monkeypatch, capsys):
    monkeypatch.setattr(cli, "has_gui", lambda: False)
    assert webcam_command(["--source", "demo", "--view", "window"]) == 2
    assert "--view browser" in capsys.readouterr().err


@pytest.mark.parametrize("build", ["  GUI:    NONE", "  no such line", "  GUI:   "])
def test_a_headless_opencv_has_no_gui(monkeypatch, build):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: build)
    assert not window.has_gui()


def test_a_display_that_is_not_there_is_no_gui(monkeypatch):
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:  QT5")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not window.has_gui()
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(window, "PROBE", "raise SystemExit(134)")
    assert not window.has_gui()
    monkeypatch.setattr(window, "PROBE", "pass")
    assert window.has_gui()


def run_window(detector, source, show=lambda _image: True):
    pipeline = Pipeline(detector, source, ReadOptions(2, 0.5))
    shown = []
    try:
        watch(pipeline, lambda image: shown.append(image) or show(image))
    finally:
        pipeline.stop()
    return shown, pipeline.capture.counts


def test_the_window_shows_frames_and_rasters_until_the_end(detector):
    source = ScriptedSource()
    source.give(10, 20, 30)
    source.end()
    shown, counts = run_window(detector, source)
    assert shown[-1].shape == (48 + STATUS_HEIGHT + 2 * 90, 64, 3)
    assert counts.captured == counts.consumed + counts.dropped
    assert counts.captured == 3


def test_the_window_can_be_closed(detector):
    source = ScriptedSource()
    source.give(10)
    shown, _ = run_window(detector, source, lambda _image: source.end())
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("error", "code"), [(SourceError("not there"), 2), (SourceLostError("gone"), 1)]
)
def test_a_failing_source_ends_the_window(detector, error, code, monkeypatch, capsys):
    source = ScriptedSource()
    source.fail(error)
    with pytest.raises(type(error)):
        run_window(detector, source)
    source.fail(error)
    monkeypatch.setattr(cli, "has_gui", lambda: True)
    monkeypatch.setattr(Settings, "open_source", lambda _settings, *, loop: source)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    assert webcam_command([]) == code
    assert str(error) in capsys.readouterr().err


def test_a_window_needs_a_source(monkeypatch, capsys):
    monkeypatch.setattr(cli, "has_gui", lambda: True)
    assert webcam_command(["--source", "none"]) == 2
    assert "name a --source" in capsys.readouterr().err


@pytest.mark.parametrize("command", [detect_command, webcam_command, serve_command])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        command(["--help"])
    assert stopped.value.code == 0
    assert "example:" in capsys.readouterr().out


def test_importing_the_app_prints_nothing():
    done = subprocess.run(
        [sys.executable, "-c", "import detector_app.cli"], capture_output=True, check=True
    )
    assert done.stdout == done.stderr == b""
