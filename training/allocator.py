"""Memory that a step frees is kept for the next one."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Options of glibc's mallopt(3)."""


def keep_freed_memory() -> None:
    """Have glibc keep what is freed; nothing elsewhere.

    By default it gives large blocks back to the system at once, which hands them out again page
    by page, filled with zeros: a tenth of a training step on a CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
