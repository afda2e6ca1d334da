"""An installation without an extra says so in a line; the detector needs none."""

import importlib.util
import subprocess
import sys

import pytest

import detector_app.entry
import training.entry
from spyv4 import Detector
from spyv4.cli import bench_command, export_command
from spyv4.errors import RuntimeUnavailableError
from spyv4.extras import EXTRAS


@pytest.fixture
def without(monkeypatch):
    """Hide packages from whoever looks for them."""
    found = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in names else found(name)
        )

    return hide


def test_all_extras_are_installed_here():
    for packages in EXTRAS.values():
        assert all(importlib.util.find_spec(name) for name in packages)


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        (detector_app.entry.serve_command, "uvicorn", "app"),
        (detector_app.entry.detect_command, "skimage", "app"),
        (training.entry.train_command, "albumentations", "train"),
        (training.entry.eval_command, "pycocotools", "train"),
        (lambda: export_command(["--output", "a.onnx"]), "onnxscript", "onnx"),
        (lambda: bench_command(["--no-compiled", "--rounds", "1"]), "onnxruntime", "onnx"),
    ],
)
def test_a_command_says_which_extra_is_missing(without, command, missing, extra, capsys):
    without(missing)
    assert command() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{missing} cannot be found" in error
    assert f"pip install 'spyv4[{extra}]'" in error


def test_the_onnx_runtime_says_which_extra_is_missing(without):
    without("onnx")
    with pytest.raises(RuntimeUnavailableError, match=r"spyv4\[onnx\]"):
        Detector.load(runtime="onnx")


def test_the_detector_loads_none_of_what_the_extras_bring():
    names = EXTRAS["app"] + EXTRAS["onnx"]  # torch itself takes tqdm where it finds it
    code = f"import sys, spyv4; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
