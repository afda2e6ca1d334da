"""The Add-task: its data, its networks, and that it can be learned."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spyv4.errors import ConfigError
from training.commands.tasks import tasks_command
from training.config import LearnerConfig
from training.tasks.add import (
    LAST,
    AddConfig,
    AddRun,
    draw_sequences,
    evaluate_add,
    run_add,
)


def test_a_sequence_has_one_mark_in_each_half_and_their_sum() -> None:
    inputs, goals = draw_sequences(500, 11, torch.Generator().manual_seed(0))
    numbers, marks = inputs.unbind(2)
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert (marks[:, :5].sum(1) == 1).all()
    assert (marks[:, 5:].sum(1) == 1).all()
    assert marks.sum(0).min() > 0  # every place is marked at times
    torch.testing.assert_close(goals[:, 0], numbers[marks == 1].view(500, 2).sum(1))
    assert goals.var().item() == pytest.approx(1 / 6, rel=0.15)


@pytest.mark.parametrize("neuron", ["ltc", "alif", "lstm"])
def test_every_network_reads_out_a_number_a_sequence(neuron: str) -> None:
    torch.manual_seed(0)
    network = AddRun(AddConfig(neuron=neuron, network="2-16R-1")).network  # type: ignore[arg-type]
    batch = draw_sequences(4, 6, torch.Generator().manual_seed(0))
    state = network.initial_state(4)
    for t in range(6):
        output, state = network(batch.inputs[:, t], state)
    assert output.shape == (4, 1)
    error = (output - batch.goals).square().mean().item()
    assert evaluate_add(network, batch) == pytest.approx(error)


@pytest.mark.slow
@pytest.mark.parametrize("neuron", ["ltc", "lstm"])
def test_short_sequences_are_learned(neuron: str) -> None:
    """Well below the variance of the goal, 0.167, which is what knowing nothing costs."""
    result = run_add(
        AddConfig(
            neuron=neuron,  # type: ignore[arg-type]
            learner=LearnerConfig(kind="fptt-k", updates=3, alpha=0.5, adopt_running_mean=False),
            length=6,
            iterations=300,
            network="2-32R-1",
            learning_rate=1e-2,
        )
    )
    assert len(result.losses) == 300
    assert result.final_loss < 0.04
    assert result.final_loss == pytest.approx(sum(result.losses[-100:]) / 100)


def test_the_seed_decides_the_run() -> None:
    config = AddConfig(length=4, iterations=3, network="2-8R-1")
    assert run_add(config).losses == run_add(config).losses
    assert run_add(config).losses != run_add(replace(config, seed=1)).losses


@pytest.mark.parametrize("kind", ["fptt-k", "bptt"])
def test_a_run_that_is_gone_on_with_is_the_run_that_was_not_cut(tmp_path: Path, kind: str) -> None:
    """The epoch, after which FPTT adopts its running mean, ends between the two parts."""
    path = tmp_path / "run.pt"
    learner = LearnerConfig(kind=kind, adopt_running_mean=True)  # type: ignore[arg-type]
    config = AddConfig(length=4, iterations=7, network="2-8R-1", epoch=4, learner=learner)
    whole = run_add(config)
    run_add(replace(config, iterations=3), checkpoint=path)
    seen: list[int] = []
    resumed = run_add(config, lambda run: seen.append(len(run.losses)), checkpoint=path)
    assert seen == [3, 4, 5, 6, 7]
    assert resumed == whole
    assert run_add(config, checkpoint=path) == whole  # with nothing left to do
    with pytest.raises(ConfigError, match="a run with network = 2-8R-1, not 2-9R-1"):
        run_add(replace(config, network="2-9R-1"), checkpoint=path)


@pytest.mark.parametrize(
    ("neuron", "losses"),
    [
        ("ltc", [0.26823, 0.22306, 0.19818]),
        ("alif", [0.27294, 0.24731, 0.17669]),
        ("lstm", [0.15925, 0.20166, 0.17258]),
    ],
)
def test_runs_are_those_that_the_docs_report_of(neuron: str, losses: list[float]) -> None:
    """How the network is built must not change what a seed gives (docs/add-task.json)."""
    config = AddConfig(neuron=neuron, length=20, iterations=3)  # type: ignore[arg-type]
    assert run_add(config).losses == pytest.approx(losses, rel=0.01)


def test_an_epoch_has_as_many_batches_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    run, ended = AddRun(AddConfig(length=2, network="2-4R-1", epoch=3)), []
    monkeypatch.setattr(run.learner, "end_epoch", lambda: ended.append(len(run.losses) + 1))
    for _ in range(7):
        run.advance()
    assert ended == [3, 6]


def test_a_run_ends_early_once_it_is_good_enough() -> None:
    config = AddConfig(length=2, iterations=300, network="2-4R-1", stop_below=100.0)
    assert len(run_add(config).losses) == LAST == 100  # before which there is no mean of them
    assert AddRun(config).recent == math.inf


def test_the_command_writes_what_the_run_gave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "add.json"
    text = f"run add --neuron alif --learner bptt --length 4 --iterations 2 --seed 5 --json {path}"
    assert tasks_command(text.split()) == 0
    document = json.loads(path.read_text())
    assert document["config"]["learner"]["kind"] == "bptt"
    assert (document["config"]["neuron"], document["config"]["seed"]) == ("alif", 5)
    assert len(document["losses"]) == 2
    assert document["first_below_0.01"] is None
    assert document["final_loss"] == pytest.approx(sum(document["losses"]) / 2, abs=1e-5)
    assert "final loss" in capsys.readouterr().out
    assert tasks_command(["list"]) == 0
    assert tasks_command(["run", "add", "--alpha", "-1"]) == 2
    assert "alpha must be greater than 0" in capsys.readouterr().err
    assert tasks_command(["run", "add", "--epochs", "3"]) == 2
    assert "the task add has no --epochs" in capsys.readouterr().err
    assert tasks_command(["run", "add", "--network", "2-8R-2"]) == 2
    assert "must end in 1 output" in capsys.readouterr().err
