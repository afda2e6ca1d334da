"""What is known of a run without its pictures: the machine, the versions, the log, the settings."""

import json
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from spyv4 import __version__
from spyv4.runtime.torch_runtime import device_name

MOST_POINTS = 500


def now() -> str:
    """The local time, to the second."""
    return datetime.now().astimezone().isoformat(" ", "seconds")


def facts() -> dict[str, str]:
    """The command of this process, when, on which machine and with which versions."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    versions = {
        "SPYv4": __version__,
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "NumPy": np.__version__,
        "OpenCV": cv2.__version__,
    }
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "written": now(),
        "machine": "; ".join(device_name(torch.device(device)) for device in devices),
        "system": platform.platform(),
        "versions": ", ".join(map(" ".join, versions.items())),
    }


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a run's `log.jsonl`; a line that was cut short by a kill is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


class Series(NamedTuple):
    """One figure of a log.

    Attributes:
        steps: batches done, rising.
        values: the figure.
    """

    steps: list[int]
    values: list[float]


def series(entries: Sequence[Mapping[str, Any]], key: str, factor: float = 1.0) -> Series:
    """One figure of a log against the batches done.

    What a resumed run did again takes the place of what was done before it was killed. Of a long
    log some entries are taken, evenly spread, the last one among them.

    Args:
        entries: of the log.
        key: of the figure.
        factor: that its values are multiplied by.
    """
    at = {
        entry["global_step"]: factor * entry[key]
        for entry in entries
        if entry.get(key) is not None and "global_step" in entry
    }
    steps = sorted(at)[:: -max(1, len(at) // MOST_POINTS)][::-1]
    return Series(steps, [at[step] for step in steps])


def settings(values: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, str]]:
    """A configuration as keys and values, as `--set` takes them."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from settings(value, f"{where}{key}.")
        else:
            yield where + key, json.dumps(value)
