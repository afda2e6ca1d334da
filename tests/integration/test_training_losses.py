"""What a run keeps when its process, or one that works for it, is killed."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import training.loop
import training.runs
from spyv4.checkpoint import load_model, save_model
from tests.helpers.tiny_model import tiny_config
from tests.integration.training_runs import (
    PICTURES,
    assert_same_training,
    command,
    draw_pictures,
    recipe,
    train,
    trainer,
)
from training.commands.train import train_command
from training.errors import DataWorkerError
from training.loop import Trainer
from training.runs import LAST, WEIGHTS, RunFolder, weights_problem


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


def resumed(root: Path, run_dir: Path) -> Trainer:
    run = trainer(root, run_dir, recipe(epochs=1))
    run.state.load_state_dict(run.folder.load())
    return run


def test_killed_between_its_two_files_a_run_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last save of a run ends after the first of its files, whichever that is."""
    whole = trainer(root, tmp_path / "whole", recipe(epochs=1))
    train(whole)
    run_dir = tmp_path / "run"
    run = trainer(root, run_dir, recipe(epochs=1))
    train(run, stop_after=1)
    written: list[object] = []

    def once(write: Callable[..., None]) -> Callable[..., None]:
        def checked(*arguments: Any) -> None:
            if written:
                raise Killed
            written.append(write(*arguments))

        return checked

    with monkeypatch.context() as patch:
        patch.setattr(training.runs, "write_atomically", once(training.runs.write_atomically))
        patch.setattr(training.runs, "save_model", once(training.runs.save_model))
        with pytest.raises(Killed):
            train(run)
    again = resumed(root, run_dir)
    train(again)
    assert_same_training(whole, again)
    with again.state.evaluated():
        assert weights_problem(again.state.model, run_dir / WEIGHTS) == ""


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path, other: path.unlink(), "no checkpoint at"),
        (lambda path, other: path.write_bytes(path.read_bytes()[:-9]), "is not a readable"),
        (lambda path, other: path.write_bytes(other.read_bytes()), "holds other weights"),
    ],
)
def test_a_complete_run_gets_its_weights_back(
    root: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path, Path], object],
    said: str,
) -> None:
    assert train_command(command(root, tmp_path)) == 0
    weights, other = tmp_path / WEIGHTS, tmp_path / "other.safetensors"
    before = load_model(weights).state_dict()
    torch.manual_seed(99)
    save_model(type(load_model(weights))(tiny_config()), other)
    damage(weights, other)
    assert train_command(command(root, tmp_path, "--resume")) == 0
    assert said in caplog.text
    assert f"written anew from {tmp_path / LAST}" in caplog.text
    after = load_model(weights).state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    caplog.clear()
    assert train_command(command(root, tmp_path, "--resume")) == 0
    assert "written anew" not in caplog.text


def test_what_a_killed_save_left_is_removed(root: Path, tmp_path: Path) -> None:
    for name in (f"{LAST}abc.part", f"{WEIGHTS}abc.part", "mine.part"):
        (tmp_path / name).touch()
    assert train_command(command(root, tmp_path)) == 0
    assert [path.name for path in tmp_path.glob("*.part")] == ["mine.part"]


def kill_workers() -> None:
    """Until they are dead, but not yet waited for."""
    for worker in multiprocessing.active_children():
        assert worker.pid is not None
        worker.kill()
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)


def before_calls(monkeypatch: pytest.MonkeyPatch, where: object, name: str, number: int) -> None:
    """Kill the workers just before the call with this number, from 1."""
    plain = getattr(where, name)
    calls: list[int] = []

    def hooked(*arguments: Any, **named: Any) -> Any:
        calls.append(len(calls) + 1)
        if calls[-1] == number:
            kill_workers()
        return plain(*arguments, **named)

    monkeypatch.setattr(where, name, hooked)


MOMENTS = [
    (Trainer, "train_batch", 1),
    (Trainer, "train_batch", 5),
    (torch.Tensor, "backward", 3),
    (training.runs, "save_model", 2),
    (training.runs, "write_atomically", 2),
    (training.loop, "StepReport", 4),
]


@pytest.mark.parametrize(("where", "name", "number"), MOMENTS)
def test_a_killed_worker_costs_nothing(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: object,
    name: str,
    number: int,
) -> None:
    config = recipe(epochs=1, batch_size=1)
    whole = trainer(root, tmp_path / "whole", config)
    train(whole)
    run = trainer(root, tmp_path / "run", config, workers=1)
    run.save_every_s = 0.0
    with monkeypatch.context() as patch:
        before_calls(patch, where, name, number)
        with pytest.raises(DataWorkerError, match="--workers 0"):
            train(run)
    done = RunFolder(tmp_path / "run").load()["position"][1]
    assert 1 <= done < PICTURES
    assert done == run.state.position.step
    again = trainer(root, tmp_path / "run", config)
    again.state.load_state_dict(RunFolder(tmp_path / "run").load())
    train(again)
    assert_same_training(whole, again)


def test_a_killed_worker_is_told_in_one_line(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before_calls(monkeypatch, Trainer, "train_batch", 2)
    assert train_command(command(root, tmp_path, "--workers", "1", "--batch-size", "1")) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    line = error.splitlines()[-1]
    assert line.startswith("spyv4-train: error: a process that prepares pictures was killed")
    assert "use --workers 0" in line
    assert f"the checkpoint is in {tmp_path}: go on with the same command and --resume" in line
