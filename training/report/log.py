"""Progress on the terminal, a JSONL log and TensorBoard, from the same reports."""

import json
import os
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TextIO

import torch
from torch import Tensor
from tqdm import tqdm

from spyv4.errors import SaveError
from training.learning import Observation

LOG = "log.jsonl"
SHOW_S = 1.0
PLOTTED = frozenset(
    (
        *("loss", "box", "objectness", "classes", "teacher"),
        *("learning_rate", "firing_rate", "images_per_s", "data_wait", "penalty_ratio", "drift"),
    )
)
"""What goes to TensorBoard: `data_wait` is the share of the time in which the model waited for its
pictures, `penalty_ratio` is the norm of the regulariser's gradient over that of
the task, `drift` ||W - Wbar|| / ||W||, both at the last update of the batch."""


class StepReport(NamedTuple):
    """What happened in one batch; figures of the device stay there until they are shown.

    Attributes:
        epoch: from 0.
        step: within the epoch, from 0.
        global_step: since the start of the run, from 0.
        terms: weighted terms of the loss (`LossTerms`), mean over what was learned from, [4].
        learning_rate: of this batch.
        firing_rate: mean over layers at the last read, 0..1, a scalar.
        images: pictures in the batch.
        seconds: computing time of the batch, without waiting for data.
        waited_s: for the data, before that.
        observation: the learning rule's, where it was measured.
    """

    epoch: int
    step: int
    global_step: int
    terms: Tensor
    learning_rate: float
    firing_rate: Tensor
    images: int
    seconds: float
    waited_s: float = 0.0
    observation: Observation | None = None

    @property
    def loss(self) -> float:
        """Sum of the terms."""
        return float(self.terms.sum())


class RunLog:
    """Shows and stores reports.

    Args:
        run_dir: receives `log.jsonl` and TensorBoard files; None for a log that keeps and shows
            nothing.
        total_steps: batches of the whole run.
        first_step: batches done before.
        every: batches between entries of the stored logs.
        tensorboard: whether to write TensorBoard files.
        progress: whether to show a progress bar.
    """

    def __init__(
        self,
        run_dir: Path | None,
        total_steps: int,
        first_step: int = 0,
        *,
        every: int = 20,
        tensorboard: bool = True,
        progress: bool = True,
    ) -> None:
        self._stream: TextIO | None = None
        if run_dir is not None:
            run_dir.mkdir(parents=True, exist_ok=True)
            self._stream = (run_dir / LOG).open("a", encoding="utf-8")
            if _cut_short(run_dir / LOG):
                self._stream.write("\n")
        self._writer: Any = None
        if tensorboard and run_dir is not None:
            # Imported here: it takes seconds, and is of no use to most callers.
            from torch.utils.tensorboard.writer import SummaryWriter

            self._writer = SummaryWriter(str(run_dir))
        self._bar = tqdm(
            total=total_steps,
            initial=first_step,
            unit="batch",
            disable=not progress or run_dir is None,
            smoothing=0.1,
        )
        self._every = every
        self._shown = 0.0
        self._penalty: dict[str, float] = {}
        self._recent: deque[tuple[StepReport, float]] = deque(maxlen=every)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        if self._stream is not None:
            with suppress(OSError):  # what a full disk has no room for is tried once more
                self._stream.close()
        if self._writer is not None:
            self._writer.close()

    def due(self, global_step: int) -> bool:
        """Whether a batch gets an entry in the stored logs."""
        return (global_step + 1) % self._every == 0

    def step(self, report: StepReport) -> None:
        """Take in one batch; figures are fetched from the device once a second, or when stored."""
        now = time.perf_counter()
        self._recent.append((report, now))
        due = self.due(report.global_step)
        if due or now - self._shown > SHOW_S:
            self._shown = now
            entry = self._summary()
            self._bar.set_postfix_str(_shown(entry), refresh=False)
            if due:
                self._store(entry)
        self._bar.update()

    def _store(self, entry: dict[str, Any]) -> None:
        """Into both logs."""
        self.event(entry)
        if self._writer is not None:
            for name in PLOTTED & entry.keys():
                self._writer.add_scalar(f"train/{name}", entry[name], entry["global_step"])

    def event(self, entry: dict[str, Any]) -> None:
        """Append one JSON line."""
        if self._stream is None:
            return
        try:
            self._stream.write(json.dumps(entry) + "\n")
            self._stream.flush()
        except OSError as error:  # a full disk, say
            raise SaveError(f"cannot write {self._stream.name}: {error.strerror}") from error

    def say(self, line: str) -> None:
        """Show a line above the progress bar."""
        if self._stream is not None:
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
        idle = sum(report.waited_s for report in reports)
        terms = torch.stack([report.terms for report in reports]).mean(0)
        rates = torch.stack([report.firing_rate for report in reports])
        box, objectness, classes, teacher = terms.tolist()
        entry: dict[str, Any] = {
            "global_step": last.global_step,
            "epoch": last.epoch,
            "learning_rate": last.learning_rate,
            "images_per_s": sum(r.images for r in reports) / waited,
            "data_wait": idle / (idle + sum(r.seconds for r in reports)),
            "peak_memory_mib": _peak_memory_mib(),
            "loss": box + objectness + classes + teacher,
            "box": box,
            "objectness": objectness,
            "classes": classes,
            "teacher": teacher,
            "firing_rate": rates.mean().item(),
        }
        if last.observation is not None:
            task, penalty, drift = (value.item() for value in last.observation)
            self._penalty = {"penalty_ratio": penalty / max(task, 1e-12), "drift": drift}
        return entry | self._penalty


def _cut_short(path: Path) -> bool:
    """Whether a kill or a full disk has left half a line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        return file.read(1) not in (b"", b"\n")


def _shown(entry: dict[str, Any]) -> str:
    """The figures of the progress line."""
    penalty = f" penalty/task {entry['penalty_ratio']:.1e}" if entry.get("penalty_ratio") else ""
    teacher = f" teacher {entry['teacher']:.2f}" if entry["teacher"] else ""
    # Of more workers there would be something to gain.
    waiting = f", {entry['data_wait']:.0%} waiting for data" if entry["data_wait"] > 0.05 else ""
    return (
        f"epoch {entry['epoch'] + 1} loss {entry['loss']:.3f} (box {entry['box']:.2f} "
        f"obj {entry['objectness']:.2f} cls {entry['classes']:.2f}{teacher}) "
        f"lr {entry['learning_rate']:.1e} firing {entry['firing_rate']:.1%}{penalty} "
        f"{entry['images_per_s']:.0f} images/s{waiting}"
    )


def _peak_memory_mib() -> float | None:
    """Largest memory that tensors took on the GPU so far, MiB; None without one."""
    if not torch.cuda.is_available():
        return None
    return torch.cuda.max_memory_allocated() / 2**20
