"""The processes of one run, as torchrun starts them, and what they tell each other.

Every process makes its part of every batch. Wherever a step looks at the batch as a whole (batch
norm, the numbers that a loss is divided by, the gradients) it looks over all processes, so that
many of them do what one would have done, to rounding. Without torchrun there is one process, and
everything here hands back what it was given.

Gradients are averaged here, between the backward pass and the update, and not by
DistributedDataParallel: that expects a backward pass after every forward pass, while a learning
rule may look several times before it goes back, or once without.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.errors import ProcessGoneError

T = TypeVar("T")
LEAD = 0
PATIENCE = timedelta(hours=2)
"""For a process that says nothing: the others wait while the lead evaluates. One that dies is
noticed at once."""


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Within the block this process works with the others that torchrun started; alone otherwise.

    Args:
        device: where the network is; every process of a machine takes a GPU of its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    local, beside = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if device.type == "cuda":
        torch.cuda.set_device(local)
    else:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // beside))
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with _gone_is_an_error():
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def count() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else LEAD


def is_lead() -> bool:
    """Whether this is the one that logs, evaluates and saves."""
    return rank() == LEAD


def from_lead(value: T) -> T:
    """What the lead has as `value`; anything that can be pickled, tensors on the CPU."""
    if count() == 1:
        return value
    box: list[Any] = [value]
    with _gone_is_an_error():
        dist.broadcast_object_list(box, src=LEAD)
    taken: T = box[0]
    return taken


@torch.no_grad()
def take_from_lead(model: nn.Module) -> None:
    """Give `model` the parameters and buffers of the lead's."""
    if count() == 1:
        return
    with _gone_is_an_error():
        for value in (*model.parameters(), *model.buffers()):
            dist.broadcast(value, src=LEAD)


def total(value: Tensor) -> Tensor:
    """The sum over processes; its gradient is the sum of theirs."""
    summed: Tensor = _summed(value) if count() > 1 else value
    return summed


def mean(value: Tensor) -> Tensor:
    """The mean over processes; its gradient is the mean of theirs."""
    return total(value) / count()


def any_of(flag: bool) -> bool:
    """Whether it is so in any process."""
    return bool(total(torch.tensor(float(flag))) > 0)


@torch.no_grad()
def average(gradients: Iterable[Tensor]) -> None:
    """Replace gradients by their means over processes, all in one message."""
    if count() == 1:
        return
    several = list(gradients)
    flat = mean(torch.cat([gradient.flatten() for gradient in several]))
    parts = torch.split(flat, [gradient.numel() for gradient in several])
    torch._foreach_copy_(several, [p.view_as(g) for p, g in zip(parts, several, strict=True)])


# An operator of torch's, so that compiled code keeps it as it is.
@torch.library.custom_op("spyv4::sum_over_processes", mutates_args=())
def _summed(value: Tensor) -> Tensor:
    summed = value.clone(memory_format=torch.contiguous_format)
    with _gone_is_an_error():
        dist.all_reduce(summed)
    return summed


@_summed.register_fake
def _(value: Tensor) -> Tensor:
    return torch.empty_like(value, memory_format=torch.contiguous_format)


def _backward(_context: Any, gradient: Tensor) -> Tensor:
    summed: Tensor = _summed(gradient)
    return summed


_summed.register_autograd(_backward)


@contextmanager
def _gone_is_an_error() -> Iterator[None]:
    """What torch says of a process that has died, for people."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessGoneError(
            "another process of this run has died or cannot be reached: "
            f"{str(error).splitlines()[0]}"
        ) from error
