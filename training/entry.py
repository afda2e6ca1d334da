"""Entry points of the console scripts, which need the packages of the `train` extra."""

import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType

from training.interrupts import Interrupts


def train_command() -> int:
    """`spyv4-train`."""
    return _run("spyv4-train", lambda cli, stop: cli.train_command(stop=stop))


def eval_command() -> int:
    """`spyv4-eval`, which has nothing to save before its end."""
    return _run("spyv4-eval", lambda cli, _stop: cli.eval_command())


def label_command() -> int:
    """`spyv4-label`, which writes at its end alone."""
    return _run("spyv4-label", lambda cli, _stop: cli.label_command())


def tasks_command() -> int:
    """`spyv4-tasks`."""
    return _run("spyv4-tasks", lambda cli, _stop: cli.tasks_command())


def _run(command: str, call: Callable[[ModuleType, Interrupts], int]) -> int:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or it asks its authors' server
    with Interrupts(command).listening() as stop:
        # Before torch: it settles how torch's threads wait.
        extras = importlib.import_module("spyv4.extras")
        try:
            extras.require_extra("train", "training and evaluation")
        except importlib.import_module("spyv4.errors").RuntimeUnavailableError as error:
            print(f"{command}: error: {error}", file=sys.stderr)
            return 2
        return call(importlib.import_module("training.cli"), stop)
