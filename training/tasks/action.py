"""What `spyv4-tasks` does."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from spyv4.errors import ArgumentError
from spyv4.files import write_atomically
from spyv4.runtime.torch_runtime import can_compile
from spyv4.validation import from_mapping, to_mapping
from training.interrupts import Interrupts
from training.memory import peak_mebibytes
from training.tasks.add import AddConfig, AddResult, AddRun, run_add
from training.tasks.config import RECIPES, TaskConfig
from training.tasks.datasets import open_data
from training.tasks.log import TaskLog
from training.tasks.run import Score, TaskRun, run_task

OF_ADD = ("length", "iterations", "stop_below")
OF_OTHERS = ("data", "epochs", "minutes", "limit", "frames", "divergence", "schedule", "log")
COMPILED_FROM = 20_000
"""Steps of learning from which compiling, which takes about half a minute, is worth it."""


def run(arguments: argparse.Namespace, stop: Interrupts) -> int:
    """Run the task as `arguments` say."""
    if arguments.task == "add":
        _refuse(arguments, OF_OTHERS)
        return _add(arguments)
    _refuse(arguments, OF_ADD)
    return _classify(arguments, stop)


def _refuse(arguments: argparse.Namespace, names: tuple[str, ...]) -> None:
    """Options that the task does not have."""
    said = [name for name in names if getattr(arguments, name) is not None]
    if said:
        option = said[0].replace("_", "-")
        raise ArgumentError(f"the task {arguments.task} has no --{option}; leave it out")


def _classify(arguments: argparse.Namespace, stop: Interrupts) -> int:
    config = _task_config(arguments)
    if arguments.data is None:
        raise ArgumentError(
            f"{config.task} needs --data FOLDER with its files; nothing is downloaded"
        )
    data = open_data(config, arguments.data)
    print(f"{config.task}: {data.split}", file=sys.stderr)
    new = TaskRun(config, data)
    compiled = _compiles(arguments, new)
    if compiled:
        new.network.compile()
    with TaskLog(arguments.log) as log:
        stop.say = log.say
        score = run_task(
            new, log.report, stop, checkpoint=arguments.checkpoint, minutes=arguments.minutes
        )
    stop.say = None
    print(
        f"test accuracy {score.accuracy:.2%}, loss {score.loss:.4f} after {new.batches} of "
        f"{new.total} batches, {new.seconds:.0f} s"
    )
    if arguments.json is not None:
        document = describe(new, score) | {"data": str(arguments.data), "compiled": compiled}
        _write(document, arguments.json)
    return 0


def _compiles(arguments: argparse.Namespace, run: TaskRun) -> bool:
    """Whether to compile the step: as was said, else where it pays and can be done."""
    if arguments.compile is not None:
        return bool(arguments.compile)
    pays = run.total * run.data.train.steps >= COMPILED_FROM
    looked_into = run.config.learner.kind == "eprop"  # it needs the layers as they are
    return pays and not looked_into and can_compile()


def describe(run: TaskRun, score: Score) -> dict[str, Any]:
    """What a run was and gave, ready for JSON."""
    return {
        "config": to_mapping(run.config),
        "notation": str(run.network.notation),
        "parameters": sum(p.numel() for p in run.network.parameters()),
        "split": run.data.split,
        "training_samples": run.samples,
        "test_samples": len(run.data.test),
        "steps": run.data.train.steps,
        "batches": run.batches,
        "batches_planned": run.total,
        "epochs": [
            {
                "train_loss": epoch.train.loss,
                "train_accuracy": epoch.train.accuracy,
                "test_loss": epoch.test.loss,
                "test_accuracy": epoch.test.accuracy,
                "seconds": epoch.seconds,
            }
            for epoch in run.epochs
        ],
        "test_loss": score.loss,
        "test_accuracy": score.accuracy,
        "seconds": run.seconds,
        "peak_memory_mib": peak_mebibytes(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _add(arguments: argparse.Namespace) -> int:
    values = _changed(arguments, to_mapping(AddConfig()), (*OF_ADD, "learning_rate"))
    config = from_mapping(AddConfig, values)
    with tqdm(total=config.iterations, unit="batch", disable=None) as bar:

        def report(run: AddRun) -> None:
            bar.set_postfix_str(f"loss {run.recent:.4f}", refresh=False)
            bar.update(len(run.losses) - bar.n)

        result = run_add(
            config, report, checkpoint=arguments.checkpoint, compile_step=bool(arguments.compile)
        )
    print(f"final loss {result.final_loss:.4f}, first below 0.01: {result.first_below_good}")
    if arguments.json is not None:
        write_result(config, result, arguments.json)
    return 0


def write_result(config: AddConfig, result: AddResult, path: Path) -> None:
    """Write what a run of the Add-task was and gave, as JSON."""
    document = {
        "config": to_mapping(config),
        "final_loss": result.final_loss,
        "first_below_0.01": result.first_below_good,
        "losses": [round(loss, 6) for loss in result.losses],
    }
    _write(document, path)


def _write(document: dict[str, Any], path: Path) -> None:
    text = json.dumps(document) + "\n"
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def _task_config(arguments: argparse.Namespace) -> TaskConfig:
    """The task's recipe, changed by what was said."""
    values = to_mapping(RECIPES[arguments.task])
    values = _changed(arguments, values, ("epochs", "limit", "frames", "divergence"))
    optimizer = {"learning_rate": arguments.learning_rate, "schedule": arguments.schedule}
    values["optimizer"] |= {key: value for key, value in optimizer.items() if value is not None}
    return from_mapping(TaskConfig, values)


def _changed(
    arguments: argparse.Namespace, values: dict[str, Any], names: tuple[str, ...]
) -> dict[str, Any]:
    """`values` with what was said of `names`, and of what all tasks have."""
    all_names = ("neuron", "network", "batch_size", "seed", *names)
    values |= {n: getattr(arguments, n) for n in all_names if getattr(arguments, n) is not None}
    learner = {"kind": arguments.learner, "updates": arguments.updates, "alpha": arguments.alpha}
    learner |= {"loss_at": arguments.loss_at, "adopt_running_mean": arguments.adopt or None}
    if arguments.learner not in (None, values["learner"]["kind"]):
        values["learner"]["updates"] = 0  # the recipe's number is meant for its own rule
    values["learner"] |= {key: value for key, value in learner.items() if value is not None}
    return values
