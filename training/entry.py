"""Entry points of the console scripts, which need the packages of the `train` extra."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType

from training.interrupts import Interrupts

_TRAIN_EXTRA = ("albumentations", "pycocotools", "tensorboard", "tqdm")


def train_command() -> int:
    """`spyv4-train`."""
    return _run("spyv4-train", lambda cli, stop: cli.train_command(stop=stop))


def eval_command() -> int:
    """`spyv4-eval`, which has nothing to save before its end."""
    return _run("spyv4-eval", lambda cli, _stop: cli.eval_command())


def _run(command: str, call: Callable[[ModuleType, Interrupts], int]) -> int:
    missing = [package for package in _TRAIN_EXTRA if importlib.util.find_spec(package) is None]
    if missing:
        print(
            f"error: {' and '.join(missing)} cannot be found; training and evaluation need "
            "pip install 'spyv4[train]'",
            file=sys.stderr,
        )
        return 2
    with Interrupts(command).listening() as stop:
        importlib.import_module("spyv4")  # before torch: it settles how torch's threads wait
        return call(importlib.import_module("training.cli"), stop)
