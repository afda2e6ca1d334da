"""Back-propagation through time, the baseline that FPTT is compared with."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

State = TypeVar("State")


def backward_through_time(
    read: Callable[[State], tuple[Tensor, State]], state: State, reads: int
) -> Tensor:
    """Gradients of the mean loss of `reads` reads, back through all of them.

    What every read needs for its backward pass is kept until the last one is done, so that memory
    grows with the number of reads.

    Args:
        read: one read: state before -> (loss, state after).
        state: before the first read.
        reads: at least 1.

    Returns:
        The mean loss, without its graph; the gradients are in the parameters.
    """
    loss, state = read(state)
    total = loss
    for _ in range(reads - 1):
        loss, state = read(state)
        total = total + loss
    mean = total / reads
    mean.backward()  # type: ignore[no-untyped-call]
    return mean.detach()
