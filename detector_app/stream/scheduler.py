"""The inference thread: it alone uses the network, and shares its reads out fairly.

Whatever wants to be looked at, a frame of a stream or a picture that was sent, is a `Work`. They
stand in a ring. Every round takes the first of them, gives each one read in a common step of the
network, and puts those that want more behind the others. So a picture of 256 reads delays one of
four by a read a round, and never by all of its own.
"""

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable

from detector_app.errors import AbandonedError, DetectorFailedError, ServerClosingError
from detector_app.stream.telemetry import RateMeter
from spyv4 import Detector, ReadOptions
from spyv4.network.spyv4 import SPYv4State
from spyv4.reading import Look, Seen, advance

logger = logging.getLogger(__name__)
BATCH = 8
"""How many pictures get a read in one step of the network."""


class Work:
    """A picture that is to be looked at, and who hears of it.

    Args:
        look: at one picture.
        on_read: called in the inference thread after every read; must be quick. What it raises ends
            the work.
        on_end: called once, with None after the last read, else with the error.
        last_alone: call `on_read` after the last read only; the others are cheaper then.
    """

    def __init__(
        self,
        look: Look,
        on_read: Callable[[Look], None],
        on_end: Callable[[Exception | None], None],
        *,
        last_alone: bool,
    ) -> None:
        self.look = look
        self._last_alone = last_alone
        self._on_read, self._on_end = on_read, on_end
        self._abandoned = self._ended = False

    @property
    def owed(self) -> int:
        """How many reads are still to come, at most where they are `auto`."""
        return 0 if self._abandoned or self._ended else self.look.most - self.look.number

    @property
    def told(self) -> bool:
        """Whether `on_read` is called after the next read, or may be: any can be the last."""
        return not self._last_alone or self.owed == 1 or self.look.options.is_auto

    def cancel(self) -> None:
        """End before the next read, since nobody waits any more; from any thread."""
        self._abandoned = True

    def go_on(self, *, told: bool) -> bool:
        """Tell of the newest read, if it is one of those that are told; whether more are wanted."""
        try:
            last = self.look.finished
            if told and (last or not self._last_alone):
                self._on_read(self.look)
        except Exception as error:  # noqa: BLE001 - belongs to whoever waits
            # Its traceback would keep the picture for as long as anybody keeps the error.
            traceback.clear_frames(error.__traceback__)
            self.end(error)
            return False
        if not last:
            return True
        self.end(None)
        return False

    def end(self, error: Exception | None) -> None:
        """Tell that it is over, unless that was told before."""
        if not self._ended:
            self._ended = True
            self._on_end(error)


class Scheduler:
    """Owns a detector and the thread that runs it.

    Args:
        detector: from now on used by that thread alone.

    Attributes:
        failed: whether the thread broke down; only a new start helps.
        read_rate: reads per second, of all pictures together.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.read_rate = RateMeter()
        self.failed = self._stopping = False
        self._ring: deque[Work] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread and refuse what waits; may be called any number of times."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._end_all(ServerClosingError())
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def require(self) -> None:
        """Raise what `submit` would raise now.

        Raises:
            DetectorFailedError: the thread broke down.
            ServerClosingError: it was stopped.
        """
        if self.failed:
            raise DetectorFailedError
        if self._stopping:
            raise ServerClosingError

    def submit(
        self,
        seen: Seen,
        options: ReadOptions,
        on_read: Callable[[Look], None],
        on_end: Callable[[Exception | None], None],
        *,
        state: SPYv4State | None = None,
        last_alone: bool = False,
    ) -> Work:
        """Have a picture looked at, from the next round on; never blocks.

        Args:
            seen: one picture as the network sees it.
            options: how to look; resolved.
            on_read: called in the inference thread after every read; must be quick. What it raises
                ends the work.
            on_end: called once, with None after the last read, else with the error.
            state: where to start, if not at rest.
            last_alone: call `on_read` after the last read only; the others are cheaper then.

        Raises:
            DetectorFailedError: the thread broke down.
            ServerClosingError: it was stopped.
        """
        look = Look(seen, options, self.detector.config, state=state)
        work = Work(look, on_read, on_end, last_alone=last_alone)
        with self._changed:
            self.require()
            self._ring.append(work)
            self._changed.notify_all()
        return work

    def _run(self) -> None:
        try:
            while batch := self._next():
                self._round(batch)
            self._end_all(ServerClosingError())
        except Exception:
            logger.exception("the inference thread failed")
            with self._changed:
                self.failed = True
            self._end_all(DetectorFailedError())

    def _next(self) -> list[Work]:
        """Those whose turn it is, once there are any; none where it is time to stop."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._ring)
                if self._stopping:
                    return []
                first = [self._ring.popleft() for _ in range(min(BATCH, len(self._ring)))]
            batch = []
            for work in first:
                if work.owed:
                    batch.append(work)
                else:
                    work.end(AbandonedError())
            if batch:
                return batch

    def _round(self, batch: list[Work]) -> None:
        """One read of each, of whom those who want more go behind the others."""
        told = [work.told for work in batch]
        try:
            advance(self.detector.runtime, [work.look for work in batch], activity=any(told))
        except Exception:
            for work in batch:
                work.end(DetectorFailedError())
            raise
        for work, tell in zip(batch, told, strict=True):
            self.read_rate.tick()
            if work.go_on(told=tell):
                with self._changed:
                    self._ring.append(work)

    def _end_all(self, error: Exception) -> None:
        """Tell everybody who waits."""
        with self._changed:
            waiting = list(self._ring)
            self._ring.clear()
        for work in waiting:
            work.end(error)
