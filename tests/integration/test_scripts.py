"""Every console script of the package is there, under its own name."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(("name", "place"), PROJECT["scripts"].items())
def test_a_script_is_found_and_helps(name, place, monkeypatch, capsys):
    module, function = place.split(":")
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit, match="0"):
        getattr(importlib.import_module(module), function)()
    assert capsys.readouterr().out.startswith(f"usage: {name} ")


HEAVY = ("torch", "numpy", "cv2", "PIL", "pydantic", "fastapi", "skimage", "tqdm")


@pytest.mark.parametrize(("name", "place"), PROJECT["scripts"].items())
@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("--no-such-option", 2)])
def test_a_script_helps_and_complains_without_what_computes(name, place, option, code):
    module, function = place.split(":")
    program = (
        f"import sys, atexit; sys.argv = [{name!r}, {option!r}]\n"
        f"atexit.register(lambda: print([m for m in {HEAVY} if m in sys.modules]))\n"
        f"from {module} import {function} as command; sys.exit(command())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
