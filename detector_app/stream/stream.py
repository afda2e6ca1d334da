"""A stream: the frames of a feed, looked at one after the other for those who watch."""

import logging
import threading
import time
from dataclasses import astuple, dataclass, replace

from detector_app.errors import (
    AbandonedError,
    DetectorFailedError,
    ServerClosingError,
    SourceLostError,
)
from detector_app.stream.feed import Feed, Frame
from detector_app.stream.scheduler import Scheduler
from detector_app.stream.states import Policy, State
from detector_app.stream.telemetry import LatencyWindow, RateMeter
from detector_app.stream.viewer import Update, Viewer
from spyv4 import ReadOptions
from spyv4.errors import SPYv4Error
from spyv4.network.spyv4 import SPYv4State
from spyv4.reading import Look

logger = logging.getLogger(__name__)
GAP_S = 2.0
"""Carried state says nothing about a frame that comes so long after the one before."""
UNSEEN = 8
"""How many frames of a stream of `Policy.EVERY` may wait to be seen."""


@dataclass(frozen=True)
class FrameCounts:
    """What became of the frames: captured = consumed + dropped + pending."""

    captured: int = 0
    consumed: int = 0
    dropped: int = 0
    pending: int = 0

    def __add__(self, other: "FrameCounts") -> "FrameCounts":
        return FrameCounts(*map(sum, zip(astuple(self), astuple(other), strict=True)))


class Stream:
    """Looks at the frames of a feed while somebody watches.

    All who watch share the reads, and each gets the boxes by its own thresholds.

    Args:
        feed: where the frames come from.
        scheduler: who looks at them.
        options: reads, start and whether the state is carried; resolved.
        policy: what becomes of frames that come too fast.

    Attributes:
        latest: the newest result.
        rate: frames per second that were looked at to the end.
        drop_rate: frames per second that were not looked at.
        latency: from capture to the last read.
    """

    def __init__(
        self,
        feed: Feed,
        scheduler: Scheduler,
        options: ReadOptions,
        policy: Policy = Policy.LATEST,
    ) -> None:
        self.feed, self.policy = feed, policy
        self.latest: Update | None = None
        self.rate, self.drop_rate, self.latency = RateMeter(), RateMeter(), LatencyWindow()
        self._scheduler, self._options = scheduler, options
        self._changed = threading.Condition()
        self._viewers: tuple[Viewer, ...] = ()
        self._slot: Frame | None = None
        self._busy = False
        self._offered = self._consumed = self._dropped = 0
        self._carried: SPYv4State | None = None
        self._before: Frame | None = None

    @property
    def state(self) -> State:
        """What the stream is doing."""
        return self.feed.state if self._viewers else State.PAUSED

    @property
    def finished(self) -> bool:
        """Whether its last frame was looked at."""
        with self._changed:
            return self.state is State.ENDED and self._slot is None and not self._busy

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    @property
    def counts(self) -> FrameCounts:
        """The counters, taken together."""
        with self._changed:
            pending = int(self._slot is not None)
            return FrameCounts(self._offered, self._consumed, self._dropped, pending)

    def add(self, viewer: Viewer) -> None:
        """Deliver to `viewer` from now on; the first one asks the feed for frames."""
        viewer.turn_to(self)
        with self._changed:
            first = not self._viewers
            self._viewers = (*self._viewers, viewer)
        if first:
            self.feed.subscribe(self)

    def remove(self, viewer: Viewer) -> None:
        """End `add`; without viewers the feed is let go of, and nothing is carried further."""
        viewer.turn_to(None)
        with self._changed:
            self._viewers = tuple(other for other in self._viewers if other is not viewer)
            if self._viewers:
                return
            self._dropped += self._slot is not None
            self._slot = self._carried = self._before = self.latest = None
            self._changed.notify_all()
        self.feed.unsubscribe(self)

    def close(self) -> None:
        """Remove all viewers."""
        for viewer in self._viewers:
            self.remove(viewer)

    def offer(self, frame: Frame) -> None:
        """Take a frame of the feed."""
        with self._changed:
            if self.policy is Policy.EVERY:
                self._changed.wait_for(lambda: self._slot is None or not self._viewers)
            if not self._viewers:
                return
            if self._slot is not None:
                self._dropped += 1
                self.drop_rate.tick()
            self._slot = frame
            self._offered += 1
        self.go_on()

    def wake(self) -> None:
        """Tell who watches that the feed changed its state."""
        for viewer in self._viewers:
            viewer.wake()

    def go_on(self) -> None:
        """Look at the frame that waits, if there is one and its turn has come."""
        with self._changed:
            frame, full = self._slot, any(viewer.waiting >= UNSEEN for viewer in self._viewers)
            if frame is None or self._busy or (full and self.policy is Policy.EVERY):
                return
            self._slot, self._busy = None, True
            self._consumed += 1
            self._changed.notify_all()
        restarted = self._restart(frame) if self._options.carry_state else None
        try:
            self._scheduler.submit(
                frame.seen,
                self._options,
                lambda look: self._deliver(look, frame, restarted),
                lambda error: self._end(frame, error),
                state=self._carried,
                last_alone=self.policy is Policy.EVERY,
            )
        except SPYv4Error as error:
            self._end(frame, error)

    def _restart(self, frame: Frame) -> str | None:
        """Give up the carried state where it says nothing about `frame`: why, if so."""
        before, self._before = self._before, frame
        if before is None or self._carried is None:
            return None
        reason = None
        if frame.opening != before.opening:
            reason = "the source was opened again"
        elif frame.seen.sizes != before.seen.sizes:
            reason = "the size of the frames changed"
        elif frame.captured_at - before.captured_at > GAP_S:
            reason = f"no frame came for {frame.captured_at - before.captured_at:.0f} seconds"
        if reason is not None:
            self._carried = None
            logger.info("%s starts from rest: %s", self.feed.name, reason)
        return reason

    def _deliver(self, look: Look, frame: Frame, restarted: str | None) -> None:
        """Show everybody the newest read."""
        viewers = self._viewers
        if not viewers:
            raise AbandonedError
        layers = self._scheduler.detector.layer_names
        found: dict[ReadOptions, Update] = {}
        for viewer in viewers:
            options = replace(viewer.options, activity=True, raster_layers=layers)
            if options not in found:
                (detections,) = look.detections(options)
                latency_ms = 1000 * (time.monotonic() - frame.captured_at)
                found[options] = Update(
                    frame, detections, look.most, look.finished, latency_ms, restarted
                )
            self.latest = found[options]
            viewer.put(found[options], self)
        if self._options.carry_state:
            self._carried = look.state

    def _end(self, frame: Frame, error: Exception | None) -> None:
        """Go on with the next frame, unless there is no sense in it."""
        if error is None:
            self.rate.tick()
            self.latency.add(1000 * (time.monotonic() - frame.captured_at))
        elif not isinstance(error, AbandonedError | ServerClosingError | DetectorFailedError):
            logger.error("a frame of %s failed", self.feed.name, exc_info=error)
            self.feed.fail(
                SourceLostError(f"a frame of {self.feed.name} failed; the log says more")
            )
        with self._changed:
            self._busy = False
        self.wake()
        if not isinstance(error, ServerClosingError | DetectorFailedError):
            self.go_on()
