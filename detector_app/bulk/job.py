"""A run: what is left to do, who does it, and what is said of it."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from detector_app.bulk.parts import Part, cut, digest
from detector_app.bulk.run_file import claim
from detector_app.bulk.working import Done, Task, Worker
from detector_app.detecting.inputs import Input
from detector_app.detecting.progress import Progress
from detector_app.settings import Settings
from spyv4 import Detector
from spyv4.extras import require_extra
from spyv4.files import file_sha256
from spyv4.runtime.torch_runtime import TorchRuntime
from spyv4.tables import part_path
from spyv4.validation import to_mapping
from spyv4.weights import find_weights

Executor = Callable[[Task, Sequence[Part]], Iterator[Done]]
"""Does parts in any order, and says of each that it is done."""


class BulkJob:
    """Looks at inputs part by part, leaving out what an earlier run with the same wishes did.

    Args:
        inputs: pictures and clips.
        folder: of the Parquet files.
        settings: which weights, and how they look.
        pictures: most pictures of a part.
        every: of a clip, one frame in so many.

    Attributes:
        parts: all of them.
        problems: what was wrong with inputs in this run, a line each.
        done: how many parts this run did.

    Raises:
        ArgumentError: if the folder is that of another run, or of other files.
        RuntimeUnavailableError: if Parquet files cannot be written here.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        folder: Path,
        settings: Settings,
        *,
        pictures: int,
        every: int,
    ) -> None:
        require_extra("parquet", "Parquet files")
        # Absolute, since other processes stand elsewhere, and so may whoever goes on.
        self.parts = cut([item._replace(path=item.path.absolute()) for item in inputs], pictures)
        self.problems: list[str] = []
        self.done = 0
        self._detector = settings.load_detector()
        options = settings.read_options(self._detector.config)
        sha256 = file_sha256(find_weights(settings.weights))
        asked: dict[str, Any] = {
            "inputs": digest(self.parts),
            "pictures a part": pictures,
            "every": every,
            "event window ms": settings.event_window_ms,
            "weights": sha256,
            **to_mapping(options),
            "runtime": [settings.runtime, settings.device, settings.precision, settings.compile],
        }
        # Each process, and each machine, would find out by itself which way of reading is the
        # fastest, and results would depend on who looked: ways differ in single spikes, while
        # batches and threads change nothing.
        way = _way(self._detector, settings)
        # As JSON has it, since it is compared with what was read from there.
        settled = claim(folder, len(self.parts), _plain(asked), way)
        settings = replace(settings, **settled)
        if settled != way:
            self._detector = settings.load_detector()
        self._task = Task(settings, folder, every, sha256)

    @property
    def left(self) -> list[Part]:
        """The parts whose files are not there."""
        folder = self._task.folder
        return [part for part in self.parts if not part_path(folder, part.number).exists()]

    def here(self, task: Task, parts: Sequence[Part]) -> Iterator[Done]:
        """Do parts in this process."""
        return map(Worker(task, self._detector), parts)

    def run(
        self,
        execute: Executor,
        stop: threading.Event,
        *,
        say: Callable[[str], None],
        terminal: TextIO,
    ) -> None:
        """Do what is left, until `stop` is set.

        Args:
            execute: does it.
            stop: ends the run after the part in work.
            say: is given a line at the end.
            terminal: where progress is shown, if it is a terminal.

        Raises:
            OSError: if a file cannot be written.
        """
        left = self.left
        progress = Progress(terminal, "parts", len(left), "parts")
        looks = objects = 0
        started = time.perf_counter()
        if left:
            for done in execute(self._task, left):
                self.done += 1
                looks, objects = looks + done.looks, objects + done.objects
                self.problems += done.problems
                progress.show(self.done)
                if stop.is_set():
                    break
        progress.clear()
        elapsed_s = time.perf_counter() - started
        before = len(self.parts) - len(left)
        say(
            f"{self._task.folder}: {self.done} of {len(self.parts)} parts, {before} done before; "
            f"{looks} looks, {objects} objects, {elapsed_s:.1f} s, "
            f"{looks / max(elapsed_s, 1e-9):.1f} a second"
        )


def _way(detector: Detector, settings: Settings) -> dict[str, Any]:
    """The settings that make every process read as `detector` does."""
    if isinstance(detector.runtime, TorchRuntime):
        way = detector.runtime.way
        return {"precision": way.precision, "compile": way.engine == "compiled"}
    return {"precision": settings.precision, "compile": settings.compile}


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Values as they come back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(facts))
    return plain
