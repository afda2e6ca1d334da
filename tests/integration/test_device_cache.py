"""`spyv4-train --cache device`: pictures in the memory of what trains, a teacher there, too."""

from pathlib import Path

import pytest
import torch

from spyv4.checkpoint import load_model
from tests.helpers.tiny_teacher import write_teacher
from tests.integration.training_runs import command, draw_pictures
from training.commands.train import train_command
from training.runs import WEIGHTS, RunFolder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


@pytest.mark.parametrize("taught", [False, True])
def test_a_run_learns_and_is_resumed_exactly(root: Path, tmp_path: Path, taught: bool) -> None:
    cached = ["--cache", "device"]
    if taught:
        cached += ["--teacher", str(write_teacher(tmp_path / "teacher.onnx"))]
    whole, parts, plain = (tmp_path / name for name in ("whole", "parts", "plain"))
    assert train_command(command(root, whole, *cached, "--epochs", "2")) == 0
    assert train_command(command(root, parts, *cached)) == 0
    longer = ("--resume", "--epochs", "2", "--allow-config-change")
    assert train_command(command(root, parts, *cached, *longer)) == 0
    assert train_command(command(root, plain, "--epochs", "2")) == 0
    one, other, third = (load_model(run / WEIGHTS).state_dict() for run in (whole, parts, plain))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert any(not torch.equal(value, third[name]) for name, value in one.items())
    assert (whole / "report.html").is_file()


def test_the_run_may_go_on_with_pictures_elsewhere(root: Path, tmp_path: Path) -> None:
    """They are varied alike, by other random numbers."""
    assert train_command(command(root, tmp_path, "--cache", "device")) == 0
    longer = ("--resume", "--epochs", "2", "--allow-config-change")
    assert train_command(command(root, tmp_path, *longer)) == 0
    assert RunFolder(tmp_path).load()["position"] == [2, 0]
