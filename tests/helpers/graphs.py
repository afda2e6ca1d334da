"""What stands in for CUDA graphs on the CPU: work that is repeated by doing it again."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from spyv4.runtime.cuda_graph import Recorded, Work


class Repeater:
    """A recorder whose replays write where the recorded work wrote, as those of graphs do.

    Attributes:
        recorded: how often work was recorded.
        replayed: how often it was replayed.
    """

    def __init__(self) -> None:
        self.recorded = self.replayed = 0
        self._inside = False

    def record(self, work: Work) -> Recorded:
        assert self._inside
        self.recorded += 1
        outputs = work()
        assert not any(tensor.is_inference() for tensor in outputs)

        def replay() -> None:
            assert self._inside
            self.replayed += 1
            self._write(outputs, work())

        return Recorded(replay, outputs)

    @contextmanager
    def turn(self) -> Iterator[None]:
        assert not self._inside, "two turns at once"
        self._inside = True
        try:
            yield
        finally:
            self._inside = False

    @staticmethod
    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def _write(outputs: list[Tensor], new: list[Tensor]) -> None:
        for output, value in zip(outputs, new, strict=True):
            output.copy_(value)
