"""Progress on the terminal, a JSONL log and TensorBoard, from the same reports."""

import json
import sys
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from tqdm import tqdm


class StepReport(NamedTuple):
    """What happened in one batch.

    Attributes:
        epoch: from 0.
        step: within the epoch, from 0.
        global_step: since the start of the run, from 0.
        box: weighted CIoU loss, mean over the reads.
        objectness: weighted objectness loss, mean over the reads.
        classes: weighted class loss, mean over the reads.
        learning_rate: of this batch.
        firing_rate: mean over layers at the last read, 0..1.
        images: pictures in the batch.
        seconds: computing time of the batch, without waiting for data.
    """

    epoch: int
    step: int
    global_step: int
    box: float
    objectness: float
    classes: float
    learning_rate: float
    firing_rate: float
    images: int
    seconds: float

    @property
    def loss(self) -> float:
        """Sum of the terms."""
        return self.box + self.objectness + self.classes


class RunLog:
    """Shows and stores reports.

    Args:
        run_dir: receives `log.jsonl` and TensorBoard files.
        total_steps: batches of the whole run.
        first_step: batches done before.
        every: batches between entries of the stored logs.
        tensorboard: whether to write TensorBoard files.
        progress: whether to show a progress bar.
    """

    def __init__(
        self,
        run_dir: Path,
        total_steps: int,
        first_step: int = 0,
        *,
        every: int = 20,
        tensorboard: bool = True,
        progress: bool = True,
    ) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self._stream = (run_dir / "log.jsonl").open("a", encoding="utf-8")
        self._writer: Any = None
        if tensorboard:
            # Imported here: it takes seconds, and is of no use to most callers.
            from torch.utils.tensorboard.writer import SummaryWriter

            self._writer = SummaryWriter(str(run_dir))
        self._bar = tqdm(
            total=total_steps, initial=first_step, unit="batch", disable=not progress, smoothing=0.1
        )
        self._every = every
        self._recent: deque[tuple[StepReport, float]] = deque(maxlen=every)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        self._stream.close()
        if self._writer is not None:
            self._writer.close()

    def step(self, report: StepReport) -> None:
        """Take in one batch."""
        self._recent.append((report, time.perf_counter()))
        entry = self._summary()
        self._bar.set_postfix_str(
            f"epoch {report.epoch + 1} loss {entry['loss']:.3f} (box {entry['box']:.2f} "
            f"obj {entry['objectness']:.2f} cls {entry['classes']:.2f}) "
            f"lr {report.learning_rate:.1e} firing {report.firing_rate:.1%} "
            f"{entry['images_per_s']:.0f} images/s",
            refresh=False,
        )
        self._bar.update()
        if (report.global_step + 1) % self._every == 0:
            self.event(entry)
            if self._writer is not None:
                for name in (
                    "loss",
                    "box",
                    "objectness",
                    "classes",
                    "learning_rate",
                    "firing_rate",
                    "images_per_s",
                ):
                    self._writer.add_scalar(f"train/{name}", entry[name], report.global_step)

    def event(self, entry: dict[str, Any]) -> None:
        """Append one JSON line."""
        self._stream.write(json.dumps(entry) + "\n")
        self._stream.flush()

    def say(self, line: str) -> None:
        """Show a line above the progress bar."""
        tqdm.write(line, file=sys.stderr)

    def metric(self, name: str, value: float, step: int) -> None:
        """Store one figure of an evaluation."""
        self.event({name: value, "global_step": step})
        if self._writer is not None:
            self._writer.add_scalar(name, value, step)

    def _summary(self) -> dict[str, Any]:
        """Means over the recent batches."""
        reports = [report for report, _ in self._recent]
        last = reports[-1]
        waited = self._recent[-1][1] - self._recent[0][1] + reports[0].seconds
        entry: dict[str, Any] = {
            "global_step": last.global_step,
            "epoch": last.epoch,
            "learning_rate": last.learning_rate,
            "images_per_s": sum(r.images for r in reports) / waited,
            "peak_memory_mib": _peak_memory_mib(),
        }
        for name in ("loss", "box", "objectness", "classes", "firing_rate"):
            entry[name] = sum(getattr(r, name) for r in reports) / len(reports)
        return entry


def _peak_memory_mib() -> float | None:
    """Largest memory that tensors took on the GPU so far, MiB; None without one."""
    if not torch.cuda.is_available():
        return None
    return torch.cuda.max_memory_allocated() / 2**20
