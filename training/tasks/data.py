"""Labelled sequences of the tasks."""

import hashlib
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor


class Sequences(ABC):
    """One split of a task's data.

    Attributes:
        labels: [N], class numbers, int64.
        shape: of one step of one sequence, as a network takes it.
        steps: of every sequence.
    """

    labels: Tensor
    shape: tuple[int, ...]
    steps: int

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def read(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Sequences in float32, [T, B, *shape].

        Args:
            chosen: [B], numbers of samples.
            generator: of what is drawn anew every time.
        """


class TaskData(NamedTuple):
    """The data of a task.

    Attributes:
        train: what is learned from.
        test: what is evaluated on.
        split: which samples these are, in words.
        classes: names of the classes.
    """

    train: Sequences
    test: Sequences
    split: str
    classes: tuple[str, ...]


def generator(seed: int, purpose: str, number: int) -> torch.Generator:
    """A source of randomness of its own for everything that is drawn.

    What is drawn for a batch depends on nothing before it: a run that is gone on with needs no
    state of any generator.
    """
    digest = hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
