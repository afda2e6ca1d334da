"""Runs of tasks of classification."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from spyv4.errors import CheckpointError, ConfigError
from tests.helpers.task_data import write_gestures, write_mnist
from training.config import LearnerConfig, OptimizerConfig
from training.errors import NonFiniteLossError
from training.interrupts import Interrupts
from training.tasks.config import RECIPES, TaskConfig
from training.tasks.data import TaskData, generator
from training.tasks.datasets import open_data
from training.tasks.run import TaskRun, run_task

TINY = TaskConfig(
    task="r-mnist",
    network="784-12D-12R-10I",
    learner=LearnerConfig(kind="fptt-k", updates=2, adopt_running_mean=False),
    optimizer=OptimizerConfig(name="adam", learning_rate=1e-2),
    epochs=2,
    batch_size=10,
    frames=4,
    readout_steps=3.0,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("mnist"), train=40, test=13)


@pytest.fixture
def data(folder: Path) -> TaskData:
    return open_data(TINY, folder)


def finish(run: TaskRun, **limits: Any) -> TaskRun:
    run_task(run, lambda _run: None, Interrupts(), **limits)
    return run


def gone(run: TaskRun) -> list[Any]:
    """What a run gave, but for the time it took."""
    return [(epoch.train, epoch.test) for epoch in run.epochs]


def test_epochs_go_over_all_samples_once_in_another_order(data: TaskData) -> None:
    run = TaskRun(TINY, data)
    assert (run.batches_per_epoch, run.total) == (4, 8)
    seen: list[int] = []
    read = data.train.read
    data.train.read = lambda chosen, source: seen.extend(chosen.tolist()) or read(chosen, source)  # type: ignore[method-assign, func-returns-value, return-value]
    finish(run)
    first, second = seen[:40], seen[40:]
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second
    assert len(run.epochs) == 2


def test_the_seed_decides_the_run(data: TaskData) -> None:
    runs = [finish(TaskRun(replace(TINY, seed=seed), data)) for seed in (0, 0, 1)]
    assert gone(runs[0]) == gone(runs[1])
    assert gone(runs[0]) != gone(runs[2])


@pytest.mark.parametrize("kind", ["fptt-k", "bptt"])
def test_a_run_that_is_gone_on_with_is_the_run_that_was_not_cut(
    data: TaskData, tmp_path: Path, kind: str
) -> None:
    """It is cut within an epoch, in the middle of which FPTT's running mean is somewhere."""
    learner = LearnerConfig(kind=kind, updates=2, adopt_running_mean=True)  # type: ignore[arg-type]
    config, path = replace(TINY, learner=learner), tmp_path / "run.pt"
    whole = finish(TaskRun(config, data))
    cut = TaskRun(config, data)
    stop = Interrupts()

    def report(run: TaskRun) -> None:
        stop.requested = run.batches == 3

    run_task(cut, report, stop, checkpoint=path)
    assert cut.batches == 3
    resumed = finish(TaskRun(config, data), checkpoint=path)
    assert resumed.seconds > cut.seconds
    assert gone(resumed) == gone(whole)
    assert all(
        a.equal(b)
        for a, b in zip(resumed.network.parameters(), whole.network.parameters(), strict=True)
    )
    again = finish(TaskRun(config, data), checkpoint=path)
    assert gone(again) == gone(whole)  # with nothing left to do


def test_another_runs_checkpoint_is_refused(data: TaskData, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    finish(TaskRun(TINY, data), checkpoint=path, minutes=0)
    with pytest.raises(ConfigError, match="a run with seed = 0, not 1"):
        finish(TaskRun(replace(TINY, seed=1), data), checkpoint=path)
    torch.save({"other": 1}, path)
    with pytest.raises(CheckpointError, match="not of such a run"):
        finish(TaskRun(TINY, data), checkpoint=path)


def test_time_is_up_after_the_batch_at_hand(data: TaskData) -> None:
    run = TaskRun(TINY, data)
    score = run_task(run, lambda _run: None, Interrupts(), minutes=0.0)
    assert run.batches == 0
    assert score == run.evaluate(data.test)


def test_evaluation_counts_every_sample_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of 5, 13 samples leave one that is filled up."""
    config = replace(TINY, task="mnist")
    data = open_data(config, folder)
    run = TaskRun(config, data)
    whole = run.evaluate(data.test)
    monkeypatch.setattr("training.tasks.run.EVALUATION_BATCH", 5)
    assert run.evaluate(data.test) == pytest.approx(whole)


def test_few_samples_are_the_first_ones(data: TaskData) -> None:
    run = TaskRun(replace(TINY, limit=8), data)
    assert (run.samples, run.batch_size, run.batches_per_epoch) == (8, 8, 1)


def test_one_sequence_at_a_time_is_learned_online(data: TaskData) -> None:
    run = finish(TaskRun(replace(TINY, batch_size=1, epochs=1, limit=6), data))
    assert run.batches == 6


def test_batches_are_drawn_from_sources_of_their_own() -> None:
    first, again, other, purpose = (
        torch.rand(3, generator=generator(*key))
        for key in ((0, "draw", 1), (0, "draw", 1), (0, "draw", 2), (0, "order", 1))
    )
    assert first.equal(again)
    assert not first.equal(other)
    assert not first.equal(purpose)


def test_a_loss_that_is_not_finite_ends_the_run(data: TaskData) -> None:
    run = TaskRun(TINY, data)
    with torch.no_grad():
        next(run.network.readout.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteLossError, match="lower --learning-rate"):
        run.advance()


def test_outputs_have_to_be_the_classes(data: TaskData) -> None:
    with pytest.raises(ConfigError, match="has 11 outputs, but r-mnist has 10 classes"):
        TaskRun(replace(TINY, network="5R-11I"), data)
    with pytest.raises(ConfigError, match="frames must be 0 for s-mnist"):
        replace(TINY, task="s-mnist")
    with pytest.raises(ConfigError, match="frames must be at least 1"):
        replace(TINY, frames=0)


@pytest.mark.parametrize(
    ("task", "network", "frames"),
    [
        ("s-mnist", "4R-10I", 0),
        ("ps-mnist", "4R-10I", 0),
        ("r-mnist", "r-mnist", 2),
        ("mnist", "ConvK3C2S1P1-MPK2S2-4D-10I", 2),
        ("fashion-mnist", "ConvK3C2S1P1-MPK2S2-4D-10I", 2),
        ("dvs-gesture", "dvs-gesture-shallow", 3),
        ("dvs-gesture", "ConvK7C2S1P3-MPK2S2-4D-11I", 3),
    ],
)
def test_every_task_runs_from_end_to_end(
    tmp_path: Path, task: str, network: str, frames: int
) -> None:
    write_gestures(write_mnist(tmp_path, test=15))
    config = replace(RECIPES[task], network=network, frames=frames, epochs=1, batch_size=2, limit=2)
    run = finish(TaskRun(config, open_data(config, tmp_path)))
    assert run.batches == 1
    assert 0 <= run.epochs[0].test.accuracy <= 1


def test_recipes_are_of_their_tasks() -> None:
    assert all(recipe.task == name for name, recipe in RECIPES.items())
