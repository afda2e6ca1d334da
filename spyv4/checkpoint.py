"""Checkpoints: safetensors with the configuration inside, read strictly."""

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from spyv4.config import ModelConfig
from spyv4.errors import CheckpointError, ConfigError, SaveError
from spyv4.files import file_sha256, write_atomically
from spyv4.network.spyv4 import SPYv4
from spyv4.validation import from_mapping, to_mapping

FORMAT = "spyv4-2"


def save_model(
    model: SPYv4, path: Path, notes: dict[str, str] | None = None, *, half_kernels: bool = False
) -> None:
    """Write the parameters and the configuration of `model` to `path`, all or nothing.

    Args:
        model: folded or not; that is stored too.
        path: a .safetensors file, replaced if it exists.
        notes: what else the file shall say of itself (`read_notes`).
        half_kernels: round kernels to float16, for a file of half the size; values by channel,
            some of which float16 is too narrow for, stay as they are.

    Raises:
        SaveError: if the file cannot be written; an earlier one is left as it was.
    """
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    if half_kernels:
        tensors = {name: x.half() if x.ndim > 1 else x for name, x in tensors.items()}
    _write(path, model.config, model.folded, tensors, notes or {})


def load_model(path: Path, *, sha256: str | None = None) -> SPYv4:
    """Rebuild the network that `save_model` wrote, in evaluation mode, float32, on the CPU.

    Args:
        path: a .safetensors file.
        sha256: expected checksum of the file, hexadecimal.

    Raises:
        CheckpointError: if the file is missing, damaged, of another format, has other bytes than
            `sha256` says, or holds other tensors than its configuration calls for.
    """
    config, folded, tensors = _read(path, sha256)
    # Compared before memory is taken: a damaged configuration may call for any amount of it.
    with torch.device("meta"):
        expected = _build(config, folded).state_dict()
    # Folded files of 0.1.0 say nothing of it; with zeros they run as they did there.
    spreads = {name: torch.zeros(()) for name in expected if name.endswith(".spread")}
    tensors = spreads | tensors
    _check_tensors(
        path,
        {n: value for n, value in expected.items() if not n.endswith("num_batches_tracked")},
        tensors,
    )
    model = _build(config, folded)
    model.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    return model.eval()


def store_score_threshold(path: Path, score_threshold: float) -> None:
    """Make `score_threshold` what the weights in `path` suggest; all else in the file stays.

    Raises:
        CheckpointError: if the file cannot be read.
        ConfigError: if the threshold is not in 0..1.
        SaveError: if the file cannot be written; it is left as it was.
    """
    config, folded, tensors = _read(path, None)
    changed = replace(config, score_threshold=score_threshold)
    _write(path, changed, folded, tensors, read_notes(path))


def read_config(path: Path) -> ModelConfig:
    """The configuration of the network in `path`, without its parameters.

    Raises:
        CheckpointError: if the file is missing or cannot be read.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return _config_in(path, file.metadata() or {})
    except (SafetensorError, ValueError, KeyError, OSError, ConfigError) as error:
        raise CheckpointError(f"{path} is not a readable SPYv4 checkpoint: {error}") from error


def _config_in(path: Path, metadata: dict[str, str]) -> ModelConfig:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a SPYv4 checkpoint ({FORMAT})")
    return from_mapping(ModelConfig, json.loads(metadata["config"]))


def read_notes(path: Path) -> dict[str, str]:
    """What `save_model` was told to note in `path`; empty for nothing.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes: dict[str, str] = json.loads((file.metadata() or {}).get("notes", "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable SPYv4 checkpoint: {error}") from error
    return notes


def _build(config: ModelConfig, folded: bool) -> SPYv4:
    model = SPYv4(config)
    return model.fold() if folded else model


def _write(
    path: Path,
    config: ModelConfig,
    folded: bool,
    tensors: dict[str, Tensor],
    notes: dict[str, str],
) -> None:
    metadata = {
        "format": FORMAT,
        "config": json.dumps(to_mapping(config)),
        "folded": str(folded),
        "notes": json.dumps(notes),
    }
    try:
        write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))
    except (OSError, SafetensorError) as error:
        raise SaveError(f"cannot write {path}: {error}") from error


def _read(path: Path, sha256: str | None) -> tuple[ModelConfig, bool, dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    if sha256 is not None and file_sha256(path) != sha256:
        raise CheckpointError(
            f"{path} is damaged: its sha256 is not the one in the manifest; fetch it again"
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            config = _config_in(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, OSError, ConfigError) as error:
        raise CheckpointError(f"{path} is not a readable SPYv4 checkpoint: {error}") from error
    return config, metadata.get("folded") == "True", tensors


def _check_tensors(path: Path, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Names and shapes must be the same, none more, none less."""
    wrong = sorted(expected.keys() ^ found.keys())
    wrong += [n for n in expected.keys() & found.keys() if expected[n].shape != found[n].shape]
    if wrong:
        raise CheckpointError(
            f"{path} does not fit its own configuration: {len(wrong)} tensors differ, "
            f"{wrong[0]} for one"
        )
    broken = [name for name, value in found.items() if not torch.isfinite(value).all()]
    if broken:
        raise CheckpointError(f"{path} holds values that are not finite, in {broken[0]}")
