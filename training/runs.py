"""The folder of a training run: its checkpoint, its weights, and the best of them."""

import hashlib
import pickle
import shlex
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from spyv4.checkpoint import load_model, read_notes, save_model
from spyv4.errors import CheckpointError, SaveError
from spyv4.files import write_atomically
from spyv4.network.spyv4 import SPYv4
from training.finite import check_parameters
from training.report.log import LOG
from training.run_state import RunState

LAST = "last.pt"
WEIGHTS = "weights.safetensors"
BEST = "best.safetensors"
REPORT = "report.html"
_SEAL = b"sha256:"
_SEAL_BYTES = len(_SEAL) + hashlib.sha256().digest_size
STATE_KEYS = frozenset(
    (
        *("config", "position", "steps_per_epoch", "data"),
        *("model", "optimizer", "learner", "average", "distillation", "twin"),
    )
)
"""What the state of a run holds (`RunState.state_dict`)."""


class RunFolder:
    """Where a run is kept.

    Files: `last.pt`, from which it is resumed exactly; `weights.safetensors`, the same moment's
    weights for the detector; `best.safetensors`, those of the evaluation with the highest mAP;
    `log.jsonl`, what happened; `report.html`, the page that shows it.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last, self.weights, self.best = path / LAST, path / WEIGHTS, path / BEST
        self.log, self.report = path / LOG, path / REPORT

    def save(self, state: RunState) -> None:
        """Write the weights for the detector, then the checkpoint that says how far they are.

        In this order: a run that is killed in between goes on from the checkpoint before, and one
        that says it is complete has its weights.

        Raises:
            NonFiniteLossError: if a parameter is NaN or infinite; nothing is written then.
            SaveError: if a file cannot be written (a full disk, say); the one before it stays.
        """
        epoch, step = state.position
        check_parameters(state.model, f"epoch {epoch + 1}, batch {step + 1}", self.path)
        self._save_weights(state)
        try:
            write_atomically(self.last, lambda path: _write_sealed(state.state_dict(), path))
        except (OSError, RuntimeError) as error:
            raise SaveError(
                f"cannot save {self.last}: {error}; the checkpoint before it is untouched"
            ) from error

    def _save_weights(self, state: RunState) -> None:
        with state.evaluated():
            save_model(state.model, self.weights)

    def load(self) -> dict[str, Any]:
        """Read the checkpoint.

        Raises:
            CheckpointError: if there is none, or it cannot be read.
        """
        if not self.last.is_file():
            raise CheckpointError(f"nothing to resume: {self.last} does not exist")
        try:
            state: dict[str, Any] = torch.load(
                _unsealed(self.last), map_location="cpu", weights_only=True
            )
        except (OSError, RuntimeError, ValueError, EOFError, pickle.PickleError) as error:
            raise CheckpointError(f"{self.last} cannot be read: {error}") from error
        if not isinstance(state, dict) or not state.keys() >= STATE_KEYS:
            raise CheckpointError(f"{self.last} is not the checkpoint of a training run")
        return state

    def restore_weights(self, state: RunState) -> str:
        """Write the weights anew if the file is not what `save` writes at this position.

        Returns:
            What was wrong with the file; empty if nothing was.

        Raises:
            SaveError: if it cannot be written.
        """
        with state.evaluated():
            problem = weights_problem(state.model, self.weights)
        if problem:
            self._save_weights(state)
        return problem

    @property
    def best_map(self) -> float | None:
        """mAP@0.5 of the best weights, 0..1; None if there are none."""
        if not self.best.is_file():
            return None
        return float(read_notes(self.best)["map"])

    def keep_if_best(self, state: RunState, mean_ap: float) -> bool:
        """Keep the weights as the best ones if no evaluation before had as high an mAP.

        Raises:
            SaveError: if they cannot be written; the best ones before stay.
        """
        best = self.best_map
        if best is not None and mean_ap <= best:
            return False
        notes = {"map": repr(mean_ap), "epoch": str(state.position.epoch)}
        with state.evaluated():
            save_model(state.model, self.best, notes)
        return True

    def resume_advice(self) -> str:
        """How to go on with the run; empty if it has saved nothing yet."""
        if not self.last.is_file():
            return ""
        return (
            f"the checkpoint is in {self.path}: go on with the same command and --resume "
            f"--run {shlex.quote(str(self.path))}"
        )

    def remove_partial_files(self) -> None:
        """Remove what a process that was killed while it saved has left."""
        for whole in (self.last, self.weights, self.best, self.report):
            for path in self.path.glob(f"{whole.name}*.part"):
                path.unlink(missing_ok=True)


def _write_sealed(state: dict[str, Any], path: Path) -> None:
    """A file of `torch.save`, which torch.load opens as it is, with its checksum at the end."""
    buffer = BytesIO()
    torch.save(state, buffer)
    data = buffer.getbuffer()
    with path.open("wb") as file:  # what torch itself says of a full disk tells nobody anything
        file.write(data)
        file.write(_SEAL + hashlib.sha256(data).digest())


def _unsealed(path: Path) -> BytesIO:
    """What `_write_sealed` wrote.

    Raises:
        CheckpointError: if a byte of it is another, or missing.
    """
    data = path.read_bytes()
    content, seal = data[:-_SEAL_BYTES], data[-_SEAL_BYTES:]
    if seal != _SEAL + hashlib.sha256(content).digest():
        raise CheckpointError(
            f"{path} is damaged, cut short, or no checkpoint of a run: its checksum does not fit; "
            f"restore it, or start a new run from {path.parent / WEIGHTS} with --init-weights"
        )
    return BytesIO(content)


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
