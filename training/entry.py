"""Entry points of the console scripts, which need the packages of the `train` extra."""

import importlib
import importlib.util
import sys

_TRAIN_EXTRA = ("albumentations", "pycocotools", "tensorboard", "tqdm")


def train_command() -> int:
    """`spyv4-train`."""
    return _run("train_command")


def eval_command() -> int:
    """`spyv4-eval`."""
    return _run("eval_command")


def _run(name: str) -> int:
    missing = [package for package in _TRAIN_EXTRA if importlib.util.find_spec(package) is None]
    if missing:
        print(
            f"error: {' and '.join(missing)} cannot be found; training and evaluation need "
            "pip install 'spyv4[train]'",
            file=sys.stderr,
        )
        return 2
    code: int = getattr(importlib.import_module("training.cli"), name)()
    return code
