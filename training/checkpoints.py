"""Checkpoints from which a run resumes exactly."""

import pickle
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from spyv4.checkpoint import write_atomically
from spyv4.errors import CheckpointError, SaveError

LAST = "last.pt"
WEIGHTS = "weights.safetensors"
STATE_KEYS = frozenset(
    {"config", "position", "steps_per_epoch", "model", "optimizer", "fptt", "average"}
)
"""What the state of a run holds (`Trainer.state_dict`)."""


def save_run(state: dict[str, Any], run_dir: Path) -> None:
    """Write the state of a run; an earlier checkpoint survives a failure.

    Raises:
        SaveError: if it cannot be written (a full disk, say).
    """
    path = run_dir / LAST
    try:
        write_atomically(path, lambda temporary: torch.save(state, temporary))
    except (OSError, RuntimeError) as error:
        raise SaveError(
            f"cannot save {path}: {error}; the checkpoint before it is untouched"
        ) from error


def load_run(run_dir: Path) -> dict[str, Any]:
    """Read what `save_run` wrote.

    Raises:
        CheckpointError: if there is none, or it cannot be read.
    """
    path = run_dir / LAST
    if not path.is_file():
        raise CheckpointError(f"nothing to resume: {path} does not exist")
    if not zipfile.is_zipfile(path):
        raise CheckpointError(f"{path} cannot be read: it is cut short, or no checkpoint")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.PickleError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(state, dict) or not state.keys() >= STATE_KEYS:
        raise CheckpointError(f"{path} is not the checkpoint of a training run")
    return state


class StopRequest:
    """Set by Ctrl-C or SIGTERM; the run saves and ends after the batch at hand."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Within the block the two signals set the request; a second Ctrl-C ends at once."""

        def ask(number: int, _frame: object) -> None:
            if self.requested and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.requested = True

        kept = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)
