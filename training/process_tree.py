"""Ending everything that this process has started, and what that has started in turn."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_POLL_S = 0.005
_PATIENCE_S = 1.0


def end_children() -> None:
    """Kill all descendants, for a process that is about to end: it can start none after it.

    What a compiler among them was writing (`-o FILE`) is removed, since whoever looks for it later
    would find it cut short and trust it, as torch's cache of compiled code does.

    Without /proc nothing is done; the workers notice within seconds that their parent is gone.
    """
    sys.addaudithook(_start_nothing)
    deadline = time.monotonic() + _PATIENCE_S
    unfinished: set[Path] = set()
    while (running := descendants(os.getpid())) and time.monotonic() < deadline:
        # All are looked at before the first is killed: a compiler ends when its helper does.
        unfinished.update(path for pid in running if (path := _output(pid)))
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)
    for path in unfinished:
        with suppress(OSError):
            path.unlink()


def descendants(parent: int) -> set[int]:
    """The processes that still run below `parent`."""
    children: dict[int, list[int]] = {}
    for pid in _all_processes():
        state = _stat(pid)
        if state and state[0] != "Z":
            children.setdefault(int(state[1]), []).append(pid)
    found: set[int] = set()
    waiting = [parent]
    while waiting:
        below = children.get(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


def _all_processes() -> list[int]:
    """Their numbers; none where there is no /proc."""
    if not _PROC.is_dir():
        return []
    return [int(name) for name in os.listdir(_PROC) if name.isdecimal()]  # noqa: PTH208


def _stat(pid: int) -> list[str]:
    """State, parent and what follows of /proc/PID/stat; empty if the process is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the name before it may hold anything


def _output(pid: int) -> Path | None:
    """What another program than this one was told to write."""
    try:
        if (_PROC / str(pid) / "exe").samefile(sys.executable):
            return None
        words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        folder = (_PROC / str(pid) / "cwd").readlink()
        return folder / os.fsdecode(words[words.index(b"-o") + 1])
    except (OSError, ValueError, IndexError):
        return None


def _start_nothing(event: str, _arguments: tuple[object, ...]) -> None:
    """An audit hook: a thread that would start a process waits for the end instead."""
    while event in ("subprocess.Popen", "os.fork"):
        time.sleep(1)
