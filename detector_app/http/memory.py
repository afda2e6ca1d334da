"""Keeps little memory that is free, and gives it back to the system after large pictures.

The C library keeps what was freed between smaller things that live on, hundreds of megabytes after
some large bodies, unless it is asked to look for it.
"""

import asyncio
import contextlib
import ctypes
import os
import sys
from collections.abc import AsyncIterator

INTERVAL_S = 5.0
_ARENA_MAX = -8
"""Option of glibc's mallopt(3)."""


def share_arena() -> None:
    """Have all threads take memory from one place, where the C library can be told (glibc).

    By default threads have places of their own, each with holes that no other thread fills: 20 MB
    of a server. To be called before there are threads; whoever has set `MALLOC_ARENA_MAX` keeps it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_ARENA_MAX, 1)


def trim() -> None:
    """Give back what is free, where the C library can (glibc)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextlib.asynccontextmanager
async def trimmed() -> AsyncIterator[None]:
    """Trim now and again while this lasts."""

    async def keep_trimming() -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            await asyncio.to_thread(trim)

    task = asyncio.create_task(keep_trimming())
    try:
        yield
    finally:
        task.cancel()
