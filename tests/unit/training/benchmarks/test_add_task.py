"""What is made of runs of the Add-task."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.benchmarks.add_task import _solved, main, read_run
from training.config import LearnerConfig
from training.tasks.action import write_result
from training.tasks.add import AddConfig, AddResult


def written(folder: Path, losses: list[float], seed: int = 0, **learner: Any) -> Path:
    """A result of a run with these losses."""
    config = AddConfig(length=20, seed=seed, learner=LearnerConfig(**learner))
    path = folder / f"{config.learner.kind}-{seed}.json"
    recent = losses[-100:]
    write_result(config, AddResult(losses, sum(recent) / len(recent), None), path)
    return path


@pytest.mark.parametrize(
    ("learner", "words"),
    [
        ({"kind": "bptt"}, "ltc: 1 update, through all, no regulariser"),
        (
            {"kind": "fptt-k", "alpha": 0.5, "adopt_running_mean": True},
            "ltc: 10 updates, each through its part, alpha 0.5, W <- Wbar",
        ),
        (
            {"kind": "tbptt", "updates": 4, "adopt_running_mean": True},
            "ltc: 4 updates, each through its part, no regulariser",
        ),
        (
            {"kind": "fptt", "alpha": 2.0, "adopt_running_mean": False},
            "ltc: 20 updates, each through one step, alpha 2",
        ),
        (
            {"kind": "plain", "updates": 1},
            "ltc: 1 updates, each through one step, no regulariser",
        ),
    ],
)
def test_a_rule_is_told_in_words(tmp_path: Path, learner: dict[str, Any], words: str) -> None:
    assert read_run(written(tmp_path, [1.0] * 100, **learner)).rule == words


def test_a_run_is_solved_once_a_hundred_losses_are_small_on_average() -> None:
    """From iteration 151 on, each of 0 takes the place of one of 1: 99 of them leave 0.01."""
    losses = [1.0] * 150 + [0.0] * 200
    assert _solved(losses) == 250  # 249 leaves 1 / 100, which is not below it
    assert _solved(losses[:249]) is None
    assert _solved([0.001] * 100) == 100
    assert _solved([0.001] * 99) is None


def test_a_curve_is_means_over_fifty_iterations(tmp_path: Path) -> None:
    run = read_run(written(tmp_path, [0.5] * 50 + [0.25] * 50 + [9.0] * 10, kind="bptt"))
    assert run.curve == [0.5, 0.25]  # of whole fifties alone
    assert (run.length, run.seed, run.solved, run.iterations) == (20, 0, None, 110)


def test_the_command_tabulates_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs := tmp_path / "runs").mkdir()
    for seed, losses in enumerate(([0.25] * 100, [0.25] * 100 + [0.0] * 100)):
        written(runs, losses, seed, kind="bptt")
    written(runs, [0.125] * 150, kind="fptt-k", alpha=0.5, adopt_running_mean=False)
    saved, drawn = tmp_path / "add.json", tmp_path / "add.svg"
    arguments = ["--runs", str(runs), "--json", str(saved), "--figure", str(drawn)]
    assert main(arguments) == 0
    through_all = "ltc: 1 update, through all, no regulariser"
    parts = "ltc: 10 updates, each through its part, alpha 0.5"
    assert capsys.readouterr().out.splitlines()[2:] == [
        f"| 20 | {through_all} | 2 | never, 197 | 0.2500, 0.0000 | 100, 200 |",
        f"| 20 | {parts} | 1 | never | 0.1250 | 150 |",
    ]
    assert [item["rule"] for item in json.loads(saved.read_text())] == [*[through_all] * 2, parts]
    assert "Add-task, 20 steps" in drawn.read_text()
