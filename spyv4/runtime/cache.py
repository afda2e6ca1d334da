"""What is remembered between runs, in the user's cache folder: choices, and compiled steps.

All of it may be deleted at any time; it is measured and built again. What is kept of a network
belongs to its weights, the size of its pictures, the processor, the number of threads, the version
of torch and the source of this package: when any of them changes, it is another entry.
"""

import functools
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path

from spyv4.files import write_atomically
from spyv4.threads import most_threads

KEPT_PACKAGES = 12
"""The most compiled steps that are kept; the ones that were used longest ago go."""


def cache_folder() -> Path:
    """Where everything is kept, for example ~/.cache/spyv4."""
    return Path(user_cache_path("spyv4", appauthor=False))


def machine(device: torch.device) -> dict[str, Any]:
    """What the speed of a network depends on besides itself."""
    if device.type == "cuda":
        return {"gpu": torch.cuda.get_device_name(device), "torch": torch.__version__}
    features = torch.cpu.get_capabilities()
    return {
        "processor": dict(sorted(features.items())),
        "threads": most_threads(),
        "limit": os.environ.get("ONEDNN_MAX_CPU_ISA", ""),
        "torch": torch.__version__,
    }


def entry_key(weights_sha256: str, image_size: tuple[int, int], device: torch.device) -> str:
    """Name of the entry of a network on this machine.

    Args:
        weights_sha256: of the weights file.
        image_size: (height, width) in pixels.
        device: where it runs.
    """
    facts = [weights_sha256, list(image_size), str(device), machine(device), _source_sha256()]
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:24]


@functools.cache
def _source_sha256() -> str:
    """Of the package's own source, from which the compiled steps are made."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def remember(key: str, facts: dict[str, Any]) -> None:
    """Keep what is known of an entry.

    Raises:
        OSError: if the folder cannot be written.
    """
    text = json.dumps(facts, indent=1)
    write_atomically(_facts_path(key), lambda path: path.write_text(text, encoding="utf-8"))


def recall(key: str) -> dict[str, Any] | None:
    """What was remembered of an entry; None for nothing that can be read."""
    try:
        facts = json.loads(_facts_path(key).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def forget(key: str) -> None:
    """Remember nothing of an entry, and delete its compiled steps."""
    _facts_path(key).unlink(missing_ok=True)
    for folder in packages_folder().glob(f"{key}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _facts_path(key: str) -> Path:
    return cache_folder() / "choices" / f"{key}.json"


def packages_folder() -> Path:
    """Where the compiled steps are, a folder each."""
    return cache_folder() / "steps"


def package_folder(key: str, precision: str) -> Path:
    """The folder of a compiled step, there or not."""
    return packages_folder() / f"{key}-{precision}"


def prune_packages() -> None:
    """Delete the compiled steps that were used longest ago, but for `KEPT_PACKAGES`."""
    folders = [folder for folder in packages_folder().iterdir() if folder.is_dir()]
    for folder in sorted(folders, key=lambda each: each.stat().st_mtime)[:-KEPT_PACKAGES]:
        shutil.rmtree(folder, ignore_errors=True)
