"""Shipped weights: names and checksums from weights/manifest.json."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from spyv4.checkpoint import load_model
from spyv4.errors import CheckpointError
from spyv4.network.spyv4 import SPYv4


def _folder() -> Path:
    return Path(str(files("weights")))


def _manifest() -> dict[str, Any]:
    try:
        text = (_folder() / "manifest.json").read_text(encoding="utf-8")
        manifest: dict[str, Any] = json.loads(text)
        return manifest
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the list of shipped weights cannot be read: {error}") from error


def shipped_weights() -> tuple[str, ...]:
    """Names of the weights that come with the package, the default first."""
    manifest = _manifest()
    default = manifest["default"]
    return (default, *(name for name in manifest["weights"] if name != default))


def find_weights(weights: str | Path | None = None) -> Path:
    """Path of `weights`: a file, or a name from the manifest; the default when left out.

    Raises:
        CheckpointError: if there is no such file or name.
    """
    if weights is not None and Path(weights).is_file():
        return Path(weights)
    manifest = _manifest()
    name = manifest["default"] if weights is None else str(weights)
    if name not in manifest["weights"]:
        raise CheckpointError(
            f"{name} is neither a file nor one of the shipped weights: "
            f"{', '.join(manifest['weights'])}"
        )
    file: str = manifest["weights"][name]["file"]
    return _folder() / file


def measured_precisions(path: Path) -> frozenset[str]:
    """The precisions in which the card of the weights has their mAP; none for other weights."""
    if path.parent != _folder():
        return frozenset()
    by_file = {item["file"]: item for item in _manifest()["weights"].values()}
    return frozenset(by_file.get(path.name, {}).get("map_15", {}))


def load_weights(weights: str | Path | None = None) -> SPYv4:
    """The network in `weights`, its checksum compared with the manifest where it is shipped."""
    path = find_weights(weights)
    sha256 = None
    if path.parent == _folder():
        by_file = {item["file"]: item["sha256"] for item in _manifest()["weights"].values()}
        sha256 = by_file.get(path.name)
    return load_model(path, sha256=sha256)
