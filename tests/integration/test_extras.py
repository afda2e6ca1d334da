"""An installation without an extra says so in a line; the detector and its command need none."""

import importlib.util
import subprocess
import sys

import pytest

from detector_app.commands.serve import serve_command
from detector_app.commands.webcam import webcam_command
from spyv4 import Detector
from spyv4.commands.bench import bench_command
from spyv4.commands.export import export_command
from spyv4.errors import RuntimeUnavailableError
from spyv4.extras import EXTRAS
from training.commands.eval import eval_command
from training.commands.train import train_command

BROUGHT = [name for packages in EXTRAS.values() for name in packages]
BARE = f"""
import sys
sys.modules |= dict.fromkeys({[*BROUGHT, "starlette"]})
"""
"""Python as `pip install spyv4` has it: to import what only extras bring fails."""


def run_bare(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", BARE + code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def without(monkeypatch):
    """Hide packages from whoever looks for them."""
    found = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in names else found(name)
        )

    return hide


def test_all_extras_but_ray_are_installed_here():
    for extra, packages in EXTRAS.items():
        assert extra == "ray" or all(importlib.util.find_spec(name) for name in packages)


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        (lambda: serve_command([]), "uvicorn", "app"),
        (lambda: webcam_command([]), "skimage", "app"),
        (lambda: train_command(["--voc-root", "x"]), "albumentations", "train"),
        (lambda: eval_command(["--voc-root", "x"]), "pycocotools", "train"),
        (lambda: export_command(["--output", "a.onnx"]), "onnxscript", "onnx"),
        (lambda: export_command(["--output", "a.nir"]), "nir", "nir"),
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
    names = set(BROUGHT) - set(EXTRAS["train"])  # torch itself takes tqdm where it finds it
    code = f"import sys; from spyv4 import Detector; print([*{names} & {{*sys.modules}}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pictures_are_looked_at_without_any_extra(tmp_path, jpeg):
    (tmp_path / "a.jpg").write_bytes(jpeg)
    code = "from detector_app.commands.detect import detect_command; sys.exit(detect_command())"
    done = run_bare(code, str(tmp_path / "a.jpg"), "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "a.jpg" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.jpg"]
    refused = run_bare(code, str(tmp_path / "a.jpg"), "--track")
    assert refused.returncode == 2
    assert refused.stderr.startswith("spyv4-detect: error: supervision and trackers cannot be")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "webcam"])
def test_the_commands_that_need_an_extra_name_it(command):
    code = f"from detector_app.commands.{command} import {command}_command as run; sys.exit(run())"
    done = run_bare(code, "--source", "demo")
    assert done.returncode == 2
    assert done.stderr.startswith(f"spyv4-{command}: error: fastapi and ")
    assert done.stderr.endswith("need pip install 'spyv4[app]'\n")
    assert done.stderr.count("\n") == 1
