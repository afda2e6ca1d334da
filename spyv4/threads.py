"""Threads that sleep between two pieces of work, instead of spinning.

Imported before anything that loads torch: OpenMP reads how it shall wait once, when its library is
loaded. Threads that spin at every barrier make a read many times slower as soon as one other
process is busy, since they take the core from the thread that they wait for. This is the one thing
that importing the package changes; whoever has set `OMP_WAIT_POLICY` keeps it.
"""

import functools
import os
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@functools.cache
def most_threads() -> int:
    """Threads that there are to compute with: what was asked for, else what torch takes."""
    import torch  # here, since this module must be loaded before it

    return torch.get_num_threads()


def use_threads(threads: int | None) -> None:
    """Compute with so many threads from now on, in torch and in every runtime loaded later.

    Args:
        threads: at least 1; None leaves torch's choice, one a core.
    """
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
        _asked.append(threads)
        most_threads.cache_clear()


def settle_threads(threads: int) -> None:
    """Compute with so many threads, which were measured to be enough, unless others were asked for.

    Args:
        threads: at least 1.
    """
    if not _asked:
        import torch

        most_threads()  # is what there are, however few are enough
        torch.set_num_threads(threads)


def with_threads(threads: int, run: Callable[[], None]) -> Callable[[], None]:
    """`run`, computing with so many threads, and with as many as before afterwards."""
    import torch

    def limited() -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            run()
        finally:
            torch.set_num_threads(before)

    return limited


_asked: list[int] = []
"""What `use_threads` was told; the number of threads is one for the whole process."""
