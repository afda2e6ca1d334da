"""Who watches a stream, and what is yet to be seen."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector_app.stream.feed import Frame
from detector_app.stream.states import Policy
from spyv4 import Detections, ReadOptions

if TYPE_CHECKING:
    from detector_app.stream.stream import Stream


@dataclass(frozen=True, eq=False)
class Update:
    """The boxes of one frame after one read.

    Attributes:
        frame: the picture.
        detections: boxes, firing rates and rasters after this read.
        reads: how many reads this frame gets in all, at most where they are `auto`.
        last: whether this is the last of them.
        latency_ms: from the frame's capture until now.
        restarted: why the state that should have been carried was given up before this frame, if
            it was.
    """

    frame: Frame
    detections: Detections
    reads: int
    last: bool
    latency_ms: float
    restarted: str | None = None

    @property
    def timings_ms(self) -> dict[str, float]:
        """What the latency is made of, by stage; `capture` comes before it."""
        stages = self.detections.timings_ms
        wait_ms = max(0.0, self.latency_ms - sum(stages.values()))
        return {"capture": self.frame.capture_ms, **stages, "wait": wait_ms}


class Viewer:
    """Somebody who watches: how, and what is yet to be seen.

    That is the reads of the newest frame, never of two; or, of a stream of `Policy.EVERY`, the last
    read of every frame.

    Args:
        options: how frames are looked at and what is reported; resolved.
        notify: called from any thread where something came, or the state of the stream changed.
    """

    def __init__(self, options: ReadOptions, notify: Callable[[], None] = lambda: None) -> None:
        self.options = options
        self.stream: Stream | None = None
        self._notify = notify
        self._updates: deque[Update] = deque()
        self._arrived = threading.Condition()

    def turn_to(self, stream: "Stream | None") -> None:
        """Watch another stream, or none; what waits of the one before is given up."""
        with self._arrived:
            self.stream = stream
            self._updates.clear()

    def put(self, update: Update, stream: "Stream") -> None:
        """Add a read of a stream, unless another is watched by now."""
        with self._arrived:
            if self.stream is not stream:
                return
            stale = self._updates and self._updates[0].frame is not update.frame
            if stale and stream.policy is Policy.LATEST:
                self._updates.clear()
            self._updates.append(update)
        self.wake()

    def wake(self) -> None:
        """Look up: something is new."""
        with self._arrived:
            self._arrived.notify_all()
        self._notify()

    @property
    def waiting(self) -> int:
        """How many reads wait to be seen."""
        return len(self._updates)

    @property
    def frame(self) -> Frame | None:
        """The frame whose reads wait, None where there are none."""
        with self._arrived:
            return self._updates[0].frame if self._updates else None

    def drain(self, timeout_s: float = 0.0) -> list[Update]:
        """All reads that wait, after waiting at most `timeout_s` for the first."""
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._updates), timeout_s)
            updates = list(self._updates)
            self._updates.clear()
        if updates and (stream := self.stream) is not None:
            stream.go_on()
        return updates
