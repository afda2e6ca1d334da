"""Memory of this process."""

from pathlib import Path

_STATUS = Path("/proc/self/status")


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
