"""Entry points of the console scripts, which need the packages of the `train` extra."""

import importlib
import sys

_TRAIN_EXTRA = frozenset({"albumentations", "pycocotools", "tensorboard", "tqdm"})


def train_command() -> int:
    """`spyv4-train`."""
    return _run("train_command")


def eval_command() -> int:
    """`spyv4-eval`."""
    return _run("eval_command")


def _run(name: str) -> int:
    try:
        cli = importlib.import_module("training.cli")
    except ModuleNotFoundError as error:
        if error.name not in _TRAIN_EXTRA:
            raise
        print(
            f"error: {error.name} is not installed; training and evaluation need "
            "pip install 'spyv4[train]'",
            file=sys.stderr,
        )
        return 2
    code: int = getattr(cli, name)()
    return code
