"""Pictures that somebody sent and waits for: a bounded queue, nothing of which is dropped."""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detector_app.errors import PipelineBusyError, PipelineClosingError
from detector_app.telemetry import LatencyWindow, RateMeter
from spyv4 import Detections, ReadOptions
from spyv4.errors import SPYv4Error


class Answer(Future[Detections]):
    """The detections to come; `cancel` also ends a look that has begun, before its next read."""

    def __init__(self) -> None:
        super().__init__()
        self.abandoned = False

    def cancel(self) -> bool:
        """Say that nobody waits any more; True where the look had not begun."""
        self.abandoned = True
        return super().cancel()


@dataclass(frozen=True, eq=False)
class Job:
    """A picture that somebody sent and waits for.

    Attributes:
        image_bgr: uint8 [H, W, 3].
        options: how to look at it.
        on_read: called in the inference thread after every read; must be quick.
        result: receives the detections after the last read, or the error.
        submitted_at: `time.monotonic()` in seconds.
    """

    image_bgr: NDArray[np.uint8]
    options: ReadOptions
    on_read: Callable[[Detections], None] | None = None
    result: Answer = field(default_factory=Answer)
    submitted_at: float = field(default_factory=time.monotonic)


class JobQueue:
    """Jobs, oldest first.

    Args:
        size: how many may wait.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.done = 0
        """Jobs that were answered to somebody."""
        self.rate, self.latency = RateMeter(), LatencyWindow()
        self._closing = False
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """Have no room for more; what is on its way is looked at while there is time."""
        self._closing = True

    def require_room(self) -> None:
        """Raise what `put` would raise now, or will once the queue is closed."""
        if self._closing:
            raise PipelineClosingError
        self._require_place()

    def _require_place(self) -> None:
        if len(self._waiting) >= self.size:
            raise PipelineBusyError(
                f"{self.size} pictures wait already; send this one again in a second"
            )

    def put(self, job: Job) -> None:
        """Append a job; never blocks.

        Raises:
            PipelineBusyError: where `size` jobs wait already.
        """
        with self._lock:
            self._require_place()
            self._waiting.append(job)
        # Not a function that knows the job: the two would keep each other, and the picture.
        job.result.add_done_callback(self._forget)

    def _forget(self, answer: "Future[Detections]") -> None:
        """Take a job that was cancelled out of the queue."""
        with self._lock:
            for job in self._waiting:
                if job.result is answer:
                    self._waiting.remove(job)
                    return

    def serve(self, look: Callable[[Job], Detections]) -> None:
        """Let `look` do the oldest job, if any; what it raises goes to whoever waits."""
        with self._lock:
            job = self._waiting.popleft() if self._waiting else None
        if job is None or not job.result.set_running_or_notify_cancel():
            return
        answer, submitted_at = job.result, job.submitted_at
        try:
            answer.set_result(look(job))
        except Exception as error:  # noqa: BLE001 - belongs to whoever waits for the result
            # Its traceback would keep the picture for as long as anybody keeps the error.
            traceback.clear_frames(error.__traceback__)
            del job
            answer.set_exception(error)
        if answer.abandoned:
            return
        self.done += 1
        self.rate.tick()
        self.latency.add(1000 * (time.monotonic() - submitted_at))

    def refuse_all(self, error: SPYv4Error) -> None:
        """Hand `error` to everybody who waits."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        for job in waiting:
            if job.result.set_running_or_notify_cancel():
                job.result.set_exception(error)
