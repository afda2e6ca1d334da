"""Checkpoints from which a run resumes exactly."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from spyv4.checkpoint import load_model
from spyv4.errors import CheckpointError, SaveError
from spyv4.files import write_atomically
from spyv4.network.spyv4 import SPYv4

LAST = "last.pt"
WEIGHTS = "weights.safetensors"
STATE_KEYS = frozenset(
    {"config", "position", "steps_per_epoch", "model", "optimizer", "learner", "average"}
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


def resume_advice(run_dir: Path) -> str:
    """How to go on with the run in `run_dir`; empty if it has saved nothing yet."""
    if not (run_dir / LAST).is_file():
        return ""
    return f"the checkpoint is in {run_dir}: go on with the same command and --resume"


def remove_partial_files(run_dir: Path) -> None:
    """Remove what a process that was killed while it saved has left."""
    for name in (LAST, WEIGHTS):
        for path in run_dir.glob(f"{name}*.part"):
            path.unlink(missing_ok=True)


def weights_problem(model: SPYv4, path: Path) -> str:
    """Why the weights in `path` are not those of `model`; empty if they are."""
    try:
        found = load_model(path).state_dict()
    except CheckpointError as error:
        return str(error)
    same = all(
        name in found and torch.equal(value.cpu(), found[name])
        for name, value in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )
    return "" if same else f"{path} holds other weights than the checkpoint"
