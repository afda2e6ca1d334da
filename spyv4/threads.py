"""Threads that sleep between two pieces of work, instead of spinning.

Imported before anything that loads torch: OpenMP reads how it shall wait once, when its library is
loaded. Threads that spin at every barrier make a read many times slower as soon as one other
process is busy, since they take the core from the thread that they wait for. This is the one thing
that importing the package changes; whoever has set `OMP_WAIT_POLICY` keeps it.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_threads(threads: int | None) -> None:
    """Compute with so many threads from now on, in torch and in every runtime loaded later.

    Args:
        threads: at least 1; None leaves torch's choice, one a core.
    """
    if threads is not None:
        import torch  # here, since this module must be loaded before it

        torch.set_num_threads(threads)
