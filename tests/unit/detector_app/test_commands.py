import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from detector_app import window
from detector_app.annotate import STATUS_HEIGHT
from detector_app.commands.serve import serve_command
from detector_app.commands.webcam import webcam_command
from detector_app.errors import SourceError, SourceLostError
from detector_app.serving import listen
from detector_app.settings import Settings
from detector_app.stream.demo import DemoSource
from detector_app.stream.hub import Hub
from detector_app.window import watch
from spyv4 import ReadOptions
from tests.unit.detector_app.scripted import ScriptedSource

pytestmark = pytest.mark.usefixtures("tiny")


def test_more_reads_than_clients_may_ask_for(capsys):
    for command in (serve_command, webcam_command):
        assert command(["--port", "0", "--reads", "33"]) == 2
        assert "reads must be at most 32, not 33" in capsys.readouterr().err
        assert command(["--port", "0", "--reads", "9", "--max-reads", "8"]) == 2
        assert "--max-reads" in capsys.readouterr().err


def test_a_file_may_hold_the_settings(tmp_path, capsys):
    file = tmp_path / "spyv4.toml"
    file.write_text('source = "nowhere.mp4"\nport = 0\n')
    for command in (serve_command, webcam_command):
        assert command(["--config", str(file)]) == 2
        assert "there is no source 'nowhere.mp4'" in capsys.readouterr().err


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
    monkeypatch.setattr(window, "has_gui", lambda: False)
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
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(window, "PROBE", "raise SystemExit(134)")
    assert window.has_gui()  # nothing is tried where Qt does not end the process


@pytest.mark.parametrize(
    ("key", "visible", "stays"),
    [
        (-1, 1.0, True),
        (ord("x"), 1.0, True),
        (ord("q"), 1.0, False),
        (27, 1.0, False),
        (-1, 0.0, False),
    ],
)
def test_a_window_stays_until_it_is_closed_or_left_by_a_key(monkeypatch, key, visible, stays):
    shown = []
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append((title, image)))
    monkeypatch.setattr(cv2, "waitKey", lambda _: key)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, _: visible)
    image = DemoSource().frame(0)
    assert window.show_window(image) == stays
    assert shown == [(window.TITLE, image)]


def run_window(detector, source, show=lambda _image: True):
    hub, shown = Hub(detector, [source]), []
    hub.scheduler.start()
    try:
        watch(hub, ReadOptions(2, 0.5), lambda image: shown.append(image) or show(image))
    finally:
        hub.stop()
    return shown, hub.counts


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
    monkeypatch.setattr(window, "has_gui", lambda: True)
    monkeypatch.setattr(Settings, "open_source", lambda _settings, *, loop: source)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    assert webcam_command([]) == code
    assert str(error) in capsys.readouterr().err


def test_a_window_needs_a_source(monkeypatch, capsys):
    monkeypatch.setattr(window, "has_gui", lambda: True)
    assert webcam_command(["--source", "none"]) == 2
    assert "name a --source" in capsys.readouterr().err


@pytest.mark.parametrize("command", [webcam_command, serve_command])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        command(["--help"])
    assert stopped.value.code == 0
    assert "example:" in capsys.readouterr().out


def test_importing_the_app_prints_nothing():
    done = subprocess.run(
        [sys.executable, "-c", "import detector_app.serving"], capture_output=True, check=True
    )
    assert done.stdout == done.stderr == b""


def test_without_a_view_a_line_is_written_for_every_frame(tmp_path, capsys):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (64, 48))
    for level in range(4):
        writer.write(np.full((48, 64, 3), 60 * level, np.uint8))
    writer.release()
    assert webcam_command(["--source", str(path), "--view", "none", "--reads", "2"]) == 0
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in shown.out.splitlines()]
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    for line in lines:
        assert (line["reads"], line["width"], line["height"]) == (2, 64, 48)
        assert line["latency_ms"] > 0
        assert isinstance(line["detections"], list)
    assert "4 frames" in shown.err


def test_a_class_that_there_is_not_is_named(capsys):
    assert webcam_command(["--source", "demo", "--view", "none", "--classes", "cat,dgo"]) == 2
    assert "unknown class 'dgo'" in capsys.readouterr().err
