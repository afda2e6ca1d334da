"""Every console script of the package is there, under its own name."""

import importlib
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
