"""Figure 2c: accuracy against the length of a sequence, on Poisson digits instead of gestures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spyv4.validation import from_mapping, to_mapping
from training.interrupts import Interrupts
from training.tasks.config import RECIPES, TaskConfig
from training.tasks.datasets import open_data
from training.tasks.figures.drawing import Files, colour, drawing, files_of, plain, write_data
from training.tasks.run import TaskRun, run_task

LENGTHS = (10, 40, 160)
PAIRS = (("ltc", "fptt"), ("ltc", "fptt-k"), ("ltc", "bptt"), ("alif", "fptt-k"), ("alif", "bptt"))
"""Neuron and learning rule."""
NETWORK = "256R-10I"
"""A shallow recurrent network, as the paper's figure has one."""


class Training(NamedTuple):
    """How long every network learns.

    Attributes:
        data: folder with MNIST.
        epochs: passes over the training set, the same for all.
        limit: learn from the first so many pictures; 0 for all.
        seed: of everything.
    """

    data: Path
    epochs: int
    limit: int
    seed: int


def draw_2c(folder: Path, training: Training, *, lengths: tuple[int, ...] = LENGTHS) -> Files:
    """Train a network of each pair at each length, and draw what it gives.

    Args:
        folder: for figure-2c.png and figure-2c.json.
        training: data and effort.
        lengths: of sequences, in frames.

    Raises:
        DatasetError: if the data are missing.
        OSError: if the files cannot be written.
    """
    files = files_of(folder, "figure-2c")
    data = measure_2c(training, lengths)
    with drawing(files.picture, (5.4, 4)) as figure:
        ax = plain(figure.subplots())
        for index, (pair, points) in enumerate(data["accuracy"].items()):
            shares = [100 * share for share in points]
            ax.plot(lengths, shares, color=colour(index), marker="o", label=pair)
        ax.set(xscale="log", xlabel="length of a sequence, frames", ylabel="test accuracy, %")
        ax.set_xticks(lengths, [str(length) for length in lengths])
        ax.minorticks_off()
        ax.set_title(f"R-MNIST, {NETWORK}, {training.epochs} epochs", fontsize=9)
        ax.legend(frameon=False, fontsize=8)
    write_data(files.data, data)
    return files


def measure_2c(training: Training, lengths: tuple[int, ...]) -> dict[str, Any]:
    """Accuracies on the test pictures, 0..1, by pair, in the order of the lengths."""
    accuracy: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    split = ""
    for neuron, rule in PAIRS:
        pair = f"{neuron}, {rule}"
        accuracy[pair], seconds[pair] = [], []
        for frames in lengths:
            config = _config(training, neuron, rule, frames)
            data = open_data(config, training.data)
            run, split = TaskRun(config, data), data.split
            score = run_task(run, lambda _: None, Interrupts())
            accuracy[pair].append(round(score.accuracy, 4))
            seconds[pair].append(round(run.seconds, 1))
    return {
        "task": "r-mnist",
        "network": NETWORK,
        "split": split,
        "epochs": training.epochs,
        "limit": training.limit,
        "seed": training.seed,
        "lengths": list(lengths),
        "accuracy": accuracy,
        "seconds": seconds,
    }


def _config(training: Training, neuron: str, rule: str, frames: int) -> TaskConfig:
    values = to_mapping(RECIPES["r-mnist"])
    learner: Mapping[str, Any] = values["learner"] | {"kind": rule}
    values |= {"neuron": neuron, "learner": learner, "network": NETWORK, "frames": frames}
    values |= {"epochs": training.epochs, "limit": training.limit, "seed": training.seed}
    return from_mapping(TaskConfig, values)
