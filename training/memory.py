"""Memory of this process, and measurements in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
# glibc gives freed memory back at once, so that a peak is that of what is in use.
_AT_ONCE = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


def mebibytes(name: str) -> float:
    """A figure of this process (Linux), in MiB; not ru_maxrss, which starts from its parent's peak.

    Args:
        name: `VmRSS:` for what it has now, `VmHWM:` for the most that it had.
    """
    lines = _STATUS.read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 2**10


def peak_mebibytes() -> float | None:
    """The most memory that this process had, in MiB; None where the system does not say."""
    return mebibytes("VmHWM:") if _STATUS.exists() else None


def apart(code: str, *, timeout_s: float = 600) -> Any:
    """What some code prints as JSON in a process of its own, whose memory nobody else has used.

    Args:
        code: of ours; never from outside.
        timeout_s: ends it.

    Raises:
        RuntimeError: if it fails; its error output is in the message.
    """
    done = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-c", code],
        env=os.environ | _AT_ONCE,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{code!r} failed: {done.stderr}")
    return json.loads(done.stdout)
