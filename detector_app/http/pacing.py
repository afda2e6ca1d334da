"""How fast frames go to a client of the live page: no faster than it draws them."""

import time
from typing import Any

from detector_app.stream.feed import Frame
from detector_app.stream.telemetry import LatencyWindow

FRAMES_IN_FLIGHT = 2
REMEMBERED = 32
"""How many frames that were sent are remembered until they are seen."""


class Pacing:
    """Numbers the frames of one client, and knows which it has yet to draw.

    Attributes:
        latency: from capture until the client said that the last read was painted.
    """

    def __init__(self) -> None:
        self.latency = LatencyWindow()
        self._newest: Frame | None = None
        self._sent = 0
        self._unshown: set[int] = set()
        self._captured: dict[int, float] = {}

    @property
    def number(self) -> int:
        """Of the newest frame that was sent."""
        return self._sent - 1

    def is_new(self, frame: Frame) -> bool:
        """Whether a frame is another than the newest that was sent."""
        return frame is not self._newest

    def may_send(self, frame: Frame) -> bool:
        """Whether something of a frame may be sent now."""
        return not self.is_new(frame) or len(self._unshown) < FRAMES_IN_FLIGHT

    def send(self, frame: Frame) -> int:
        """Note that a frame is sent; its number."""
        self._newest = frame
        number, self._sent = self._sent, self._sent + 1
        self._unshown.add(number)
        self._captured[number] = frame.captured_at
        self._captured.pop(number - REMEMBERED, None)
        return number

    def restart(self) -> None:
        """Wait for nothing that was sent before."""
        self._unshown.clear()

    def note_shown(self, frame: Any) -> str | None:
        """Note that a frame was drawn; what is wrong with its number, where it is none."""
        whole = isinstance(frame, int) or (isinstance(frame, float) and frame.is_integer())
        if isinstance(frame, bool) or not whole or frame < 0:
            return "frame must be the number of a live frame, 0 or more"
        self._unshown = {number for number in self._unshown if number > frame}
        return None

    def note_seen(self, frame: Any) -> None:
        """Note that the last read of a frame was painted."""
        captured_at = self._captured.pop(int(frame), None)
        if captured_at is not None:
            self.latency.add(1000 * (time.monotonic() - captured_at))
