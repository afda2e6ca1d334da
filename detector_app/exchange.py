"""What the inference thread hands to viewers."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from detector_app.capture import Frame
from spyv4 import Detections


@dataclass(frozen=True, eq=False)
class Update:
    """The boxes of one live frame after one read.

    Attributes:
        frame: the picture.
        detections: boxes, firing rates and rasters after this read.
        reads: how many reads this frame gets in all.
        latency_ms: from the frame's capture until now.
    """

    frame: Frame
    detections: Detections
    reads: int
    latency_ms: float


class Mailbox:
    """What a viewer has yet to see: the reads of the newest frame, never of two."""

    def __init__(self, notify: Callable[[], None] = lambda: None) -> None:
        self._updates: deque[Update] = deque()
        self._arrived = threading.Condition()
        self._notify = notify

    def put(self, update: Update) -> None:
        """Add a read; reads of an older frame that were not seen are dropped."""
        with self._arrived:
            if self._updates and self._updates[0].frame is not update.frame:
                self._updates.clear()
            self._updates.append(update)
            self._arrived.notify_all()
        self._notify()

    @property
    def frame_id(self) -> int | None:
        """Number of the frame whose reads wait, None where there are none."""
        with self._arrived:
            return self._updates[0].frame.id if self._updates else None

    def drain(self, timeout_s: float = 0.0) -> list[Update]:
        """All reads that wait, after waiting at most `timeout_s` for the first."""
        with self._arrived:
            self._arrived.wait_for(lambda: bool(self._updates), timeout_s)
            updates = list(self._updates)
            self._updates.clear()
        return updates
