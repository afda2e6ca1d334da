"""Progress of a run of a task on the terminal, and in TensorBoard."""

import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from training.tasks.run import RECENT, TaskRun


class TaskLog:
    """Shows and stores how a run goes.

    Args:
        folder: of TensorBoard's files; None for none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._stack = ExitStack()
        self._bar: tqdm[Any] = self._stack.enter_context(tqdm(unit="batch", disable=None))
        self._epochs = 0
        self._writer: Any = None
        if folder is not None:
            # Imported here: it takes seconds, and is of no use to most callers.
            from torch.utils.tensorboard.writer import SummaryWriter

            self._writer = self._stack.enter_context(SummaryWriter(str(folder)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def say(self, line: str) -> None:
        """A line on standard error, above the bar."""
        tqdm.write(line, file=sys.stderr)

    def report(self, run: TaskRun) -> None:
        """Take in a new run, or one batch more."""
        if self._bar.total is None:  # what was done before is no progress
            self._bar.total, self._bar.initial = run.total, run.batches
            self._bar.reset(run.total)
            self._bar.update(run.batches)
            self._epochs = len(run.epochs)
            return
        self._bar.update(run.batches - self._bar.n)
        if run.recent:
            loss, accuracy = (sum(v) / len(v) for v in zip(*run.recent, strict=True))
            self._bar.set_postfix_str(f"loss {loss:.3f} accuracy {accuracy:.1%}", refresh=False)
            if self._writer is not None and run.batches % RECENT == 0:
                self._writer.add_scalar("train/loss", loss, run.batches)
                self._writer.add_scalar("train/accuracy", accuracy, run.batches)
        for number in range(self._epochs, len(run.epochs)):
            self._end_epoch(number + 1, run)
        self._epochs = len(run.epochs)

    def _end_epoch(self, number: int, run: TaskRun) -> None:
        train, test, seconds = run.epochs[number - 1]
        self.say(
            f"epoch {number}/{run.config.epochs}: loss {train.loss:.3f}, accuracy "
            f"{train.accuracy:.1%}; test {test.loss:.3f}, {test.accuracy:.1%} ({seconds:.0f} s)"
        )
        if self._writer is not None:
            self._writer.add_scalar("test/loss", test.loss, run.batches)
            self._writer.add_scalar("test/accuracy", test.accuracy, run.batches)
