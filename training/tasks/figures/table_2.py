"""Table 2: the paper's accuracies beside those of our runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spyv4.errors import ArgumentError
from spyv4.validation import to_mapping
from training.tasks.config import RECIPES
from training.tasks.figures.drawing import Files, write_text

PAPER: Mapping[str, tuple[str, float]] = {
    "s-mnist": ("-", 97.37),
    "ps-mnist": ("-", 93.23),
    "r-mnist": ("95.34 (OSTL, SNU)", 98.63),
    "mnist": ("98.0 (DECOLLE)", 99.62),
    "fashion-mnist": ("85.3 (EMSTDP)", 93.58),
    "dvs-gesture": ("95.54 (DECOLLE)", 97.22),
    "dvs-cifar10": ("-", 73.2),
}
"""Test accuracy in percent: the online baseline that the paper names, and its FPTT with LTC."""
_HEADER = (
    "task",
    "online baseline",
    "paper, FPTT and LTC",
    "ours",
    "neuron, rule",
    "network",
    "trained and tested on",
    "epochs",
    "the whole run",
)
_NOT_RUN = ("not run", "", "", "", "")
_OPTIONS = ("neuron", "network", "epochs", "frames", "limit", "divergence", "seed")
_OF_LEARNER = (("learner", "kind"), ("updates", "updates"))


def draw_table_2(folder: Path, results: Path) -> Files:
    """Write the table as Markdown and as JSON.

    Args:
        folder: for table-2.md and table-2.json.
        results: with the files of `spyv4-tasks run --json`.

    Raises:
        ArgumentError: if there is none, or one cannot be read.
        OSError: if the files cannot be written.
    """
    rows = [row for path in sorted(results.glob("*.json")) for row in _read(path)]
    if not rows:
        raise ArgumentError(f"{results} holds no result of spyv4-tasks run --json")
    lines = [_HEADER, ("---",) * len(_HEADER)]
    for task, (baseline, paper) in PAPER.items():
        plain = f"`spyv4-tasks run {task} --data FOLDER`"
        found = [_cells(row) for row in rows if row["task"] == task]
        lines += ((task, baseline, str(paper), *ours) for ours in found or [(*_NOT_RUN, plain)])
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    files = Files(folder / "table-2.md", folder / "table-2.json")
    write_text(files.picture, text)
    write_text(files.data, json.dumps(rows, indent=1) + "\n")
    return files


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['accuracy']:.2%}",
        f"{row['neuron']}, {row['learner']}",
        f"`{row['network']}`",
        f"{row['training_samples']} and {row['test_samples']}",
        f"{row['epochs']:.3g} of {row['epochs_planned']}",
        f"`{row['command']}`",
    )


def _command(config: Mapping[str, Any]) -> str:
    """What runs it again: the options in which it differs from the task's recipe."""
    usual = to_mapping(RECIPES[config["task"]])
    options = [f"spyv4-tasks run {config['task']} --data FOLDER"]
    for name, value, other in (
        *((name, config[name], usual[name]) for name in _OPTIONS),
        *((name, config["learner"][key], usual["learner"][key]) for name, key in _OF_LEARNER),
    ):
        if value not in (other, 0):  # 0 is what a rule or a task has of its own
            options.append(f"--{name} {value}")
    return " ".join(options)


def _read(path: Path) -> list[dict[str, Any]]:
    """What the table says of a run; nothing for one of the Add-task."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        config = found["config"]
        if "task" not in config:
            return []
        return [
            {
                "task": config["task"],
                "accuracy": float(found["test_accuracy"]),
                "neuron": config["neuron"],
                "learner": config["learner"]["kind"],
                "network": found["notation"],
                "training_samples": found["training_samples"],
                "test_samples": found["test_samples"],
                "split": found["split"],
                "epochs": config["epochs"] * found["batches"] / found["batches_planned"],
                "epochs_planned": config["epochs"],
                "seed": config["seed"],
                "seconds": found["seconds"],
                "command": _command(config),
            }
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ArgumentError(f"{path} is no result of spyv4-tasks run --json: {error!r}") from error
