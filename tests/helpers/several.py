"""Processes that train together, as torchrun starts them."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from training import processes


def free_port() -> str:
    """One of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def environment(rank: int, count: int, port: str) -> dict[str, str]:
    """What torchrun says to process `rank` of `count` on one machine."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }


@contextmanager
def joined(rank: int, count: int, port: str) -> Iterator[None]:
    """Within the block this process is one of several."""
    told = mock.patch.dict(os.environ, environment(rank, count, port))
    with told, processes.joined(torch.device("cpu")):
        yield
