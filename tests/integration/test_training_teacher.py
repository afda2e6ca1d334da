"""Twin, teacher and warm start by the command."""

import json
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.onnx")


def last_entry(run_dir: Path) -> dict[str, Any]:
    """The newest of the log that has a loss."""
    lines = (run_dir / "log.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    entry: dict[str, Any] = [entry for entry in entries if "loss" in entry][-1]
    return entry


def test_a_twin_learns_from_a_teacher_and_starts_a_spiking_network(
    root: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin, spiking = tmp_path / "twin", tmp_path / "spiking"
    taught = ("--twin", "--teacher", str(teacher), "--workers", "1", "--epochs", "7")
    assert train_command(command(root, twin, *taught)) == 0
    entry = last_entry(twin)
    assert entry["teacher"] > 0
    total = sum(entry[name] for name in ("box", "objectness", "classes", "teacher"))
    assert entry["loss"] == pytest.approx(total)
    assert "adaptors.0.weight" in RunFolder(twin).load()["distillation"]
    assert load_model(twin / WEIGHTS).config.neuron.kind == "leaky-relu"

    more = ("--init-weights", str(twin / WEIGHTS), "--epochs", "7", "--recipe", "nano")
    settings = ('precision="float32"',)
    assert train_command(command(root, spiking, *more, settings=settings)) == 0
    model = load_model(spiking / WEIGHTS)
    assert model.config.neuron.kind == "ltc"
    assert model.config.readout == "leaky"
    assert model.config.class_names == ("cat", "dog", "bus", "car")
    assert last_entry(spiking)["teacher"] == 0

    by_both = tmp_path / "both"
    teachers = ("--twin-teacher", str(twin / WEIGHTS), "--teacher", str(teacher))
    run = (*more, "--reads", "2", *teachers, "--workers", "1")
    assert train_command(command(root, by_both, *run, settings=settings)) == 0
    assert last_entry(by_both)["teacher"] > 0

    again = command(root, by_both, *more, "--reads", "2", *teachers[2:], settings=settings)
    assert train_command([*again, "--workers", "1", "--resume"]) == 2
    assert "resume with the same --twin-teacher" in capsys.readouterr().err


def test_a_run_with_a_teacher_resumes_with_it(
    root: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_teacher = command(root, tmp_path, "--teacher", str(teacher))
    assert train_command(with_teacher) == 0
    more = ("--resume", "--epochs", "2", "--allow-config-change")
    assert train_command([*with_teacher, *more]) == 0
    assert RunFolder(tmp_path).load()["position"] == [2, 0]
    assert train_command([*command(root, tmp_path), *more]) == 2
    assert "made with a teacher; resume with --teacher" in capsys.readouterr().err


def test_what_is_no_teacher_ends_the_command_in_a_line(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_command(command(root, tmp_path, "--teacher", str(tmp_path / "none"))) == 2
    assert "spyv4-train: error: no teacher at" in capsys.readouterr().err


@pytest.mark.parametrize(("cores", "workers", "threads"), [(2, 1, 1), (16, 2, 14), (1, 2, 1)])
def test_a_busy_worker_gets_a_core(
    root: Path,
    teacher: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    workers: int,
    threads: int,
) -> None:
    used: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    run = command(root, tmp_path, "--teacher", str(teacher), "--workers", str(workers))
    assert train_command([*run, "--dry-run"]) == 0
    assert train_command([*run, "--dry-run", "--threads", "3"]) == 0
    assert used == [threads, 3]
