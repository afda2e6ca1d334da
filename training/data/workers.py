"""Processes that prepare batches, and what happens when one of them dies."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from training.errors import DataWorkerError

T = TypeVar("T")


def in_workers(
    items: Dataset[T], indices: Sequence[Any], workers: int, *, pinned: bool = False
) -> Iterator[T]:
    """The items at `indices`, in order, made ahead by forked processes.

    Args:
        items: index -> item.
        indices: those to make.
        workers: how many processes; 0 makes the items here.
        pinned: whether to move the items to page-locked memory.

    Raises:
        DataWorkerError: if a worker has died, when an item of its is asked for.
    """
    loader: DataLoader[T] = DataLoader(
        items,
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        pin_memory=pinned,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_start_worker if workers else None,
        # Else it would draw from torch's global generator, and change what follows.
        generator=torch.Generator(),
    )
    with _no_handler_of_torch():
        made = iter(loader)
    while True:
        try:
            item = next(made)
        except StopIteration:
            return
        except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
            # All but the first come from the socket of a worker that is dying just now.
            if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                raise
            raise DataWorkerError(
                "a process that prepares pictures was killed, perhaps for lack of memory or of "
                "shared memory (/dev/shm); use --workers 0"
            ) from error
        yield item


@contextmanager
def _no_handler_of_torch() -> Iterator[None]:
    """Within the block workers may be started without a change to how their death is noticed.

    torch sets a handler that raises wherever the main thread is when a worker dies: in the middle
    of a step, or of saving. Without it, the next item that is asked for tells.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # torch sets no handler then
        return
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL if handler is None else handler)


def _start_worker(_worker: int) -> None:
    """One thread a worker, and only the main process decides when to stop.

    More threads of OpenCV would fight over the same cores. A signal to the whole process group
    would end the workers before the main process has saved.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
