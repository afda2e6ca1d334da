"""Which folder a run is kept in."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from spyv4.errors import ConfigError
from training.runs import LAST

RUNS = Path("runs")


@contextmanager
def new_run(given: Path | None, name: str) -> Iterator[Path]:
    """A folder for a new run, which goes again if it is new and nothing is in it at the end.

    Two runs that start at the same time get two folders.

    Args:
        given: the folder; None for `runs/NAME`, or the first of `runs/NAME2`, `runs/NAME3` and so
            on that is free.
        name: NAME.

    Raises:
        ConfigError: if a run is in the given folder.
    """
    if given is not None and (given / LAST).exists():
        raise ConfigError(f"{given} holds a run already; add --resume or choose another --run")
    new = given is None or not given.exists()
    path = given or _reserved(name)
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        if new:
            with suppress(OSError):  # it is not empty
                path.rmdir()
                if given is None:
                    RUNS.rmdir()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Within the block no other process trains in this folder, if there is one.

    Raises:
        ConfigError: if one does already.
    """
    if not path.is_dir():
        yield
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"another process is training in {path}; wait for it, or choose another --run"
            ) from error
        yield
    finally:
        os.close(folder)


def newest_run() -> Path:
    """The folder in `runs/` that was saved to last.

    Raises:
        ConfigError: if there is none.
    """
    saved = sorted(RUNS.glob(f"*/{LAST}"), key=lambda path: path.stat().st_mtime)
    if not saved:
        raise ConfigError(f"there is no run in {RUNS}/ to resume; name its folder: --run FOLDER")
    return saved[-1].parent


def _reserved(name: str) -> Path:
    """The first folder of the name that is not there, made."""
    safe = re.sub(r"[^\w.-]|^\.+", "_", name)  # it may come from a file of somebody else's
    RUNS.mkdir(exist_ok=True)
    for number in count(1):
        path = RUNS / (safe if number == 1 else f"{safe}{number}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError
