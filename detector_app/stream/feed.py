"""A source, and the thread that reads it for as long as somebody wants its frames."""

import logging
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from detector_app.errors import SourceLostError
from detector_app.stream.sources import Pace, Source
from detector_app.stream.states import State
from detector_app.stream.telemetry import RateMeter
from spyv4.errors import SPYv4Error
from spyv4.reading import Seen, see

logger = logging.getLogger(__name__)
JPEG_QUALITY = 82
SILENCE_S = 10.0
"""A running source that delivers nothing for so long counts as lost until it does."""
OPENING_S = 30.0
"""One that is being opened for so long does, too."""
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""After how long a source that failed is tried again, for the first time, the second, and so on."""


@dataclass(frozen=True)
class Frame:
    """A captured picture.

    Attributes:
        id: counts up by one with every frame of its feed.
        opening: counts up by one whenever the source is opened.
        image_bgr: uint8 [H, W, 3].
        seen: the picture as the network sees it.
        captured_at: `time.monotonic()` of the capture, in seconds.
        capture_ms: how long the source took to hand it over; of a camera mostly waiting.
    """

    id: int
    opening: int
    image_bgr: NDArray[np.uint8]
    seen: Seen
    captured_at: float
    capture_ms: float

    @cached_property
    def jpeg(self) -> bytes:
        """The picture as JPEG; encoded once, when first asked for."""
        _, data = cv2.imencode(".jpg", self.image_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return data.tobytes()


class Subscriber(Protocol):
    """Somebody who wants the frames of a feed."""

    def offer(self, frame: Frame) -> None:
        """Take a frame; called in the feed's thread, which waits."""

    def wake(self) -> None:
        """Hear that the state of the feed changed; called in its thread."""


class Feed:
    """A source that several may share; it is open while there are subscribers.

    Args:
        source: what to read.
        image_size: (height, width) of the network's image.
        loss_level: at which level the log says that the source was lost.

    Attributes:
        captured: how many frames were read.
        rate: frames per second.
    """

    def __init__(
        self, source: Source, image_size: tuple[int, int], *, loss_level: int = logging.ERROR
    ) -> None:
        self.source, self._image_size, self._loss_level = source, image_size, loss_level
        self.captured = 0
        self.rate = RateMeter()
        self._changed = threading.Condition()
        self._subscribers: tuple[Subscriber, ...] = ()
        self._state, self._error = State.PAUSED, None  # type: tuple[State, SPYv4Error | None]
        self._openings = self._failures = 0
        self._heard_at = 0.0  # of the newest frame, or of the wish to have one
        self._stopping = self._retry = False
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """What people call the source."""
        return self.source.name

    @property
    def state(self) -> State:
        """What the source is doing; a silent one is lost."""
        return State.LOST if self._silent else self._state

    @property
    def error(self) -> SPYv4Error | None:
        """Why the source is lost, or None."""
        if self._silent:
            return SourceLostError(
                f"{self.name} delivered no picture for {self._patience_s:.0f} seconds; check its "
                "connection"
            )
        return self._error

    @property
    def _patience_s(self) -> float:
        return OPENING_S if self._state is State.OPENING else SILENCE_S

    @property
    def _silent(self) -> bool:
        waits = self._state in (State.OPENING, State.RUNNING)
        return waits and time.monotonic() - self._heard_at > self._patience_s

    def subscribe(self, subscriber: Subscriber) -> None:
        """Offer every frame from now on to `subscriber`; the first one opens the source."""
        with self._changed:
            if not self._subscribers:
                self._want()
            self._subscribers = (*self._subscribers, subscriber)
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
                self._thread.start()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """End `subscribe`; without subscribers the source is closed. Never blocks."""
        with self._changed:
            self._subscribers = tuple(x for x in self._subscribers if x is not subscriber)
            if not self._subscribers:
                self._state, self._error = State.PAUSED, None
            self._changed.notify_all()

    def retry(self) -> None:
        """Open a source again that ended or was lost."""
        with self._changed:
            self._want()
            self._retry = True

    def stop(self, timeout_s: float = 2.0) -> None:
        """Let go of the source and end the thread, and wait for that at most `timeout_s`.

        May be called any number of times.
        """
        with self._changed:
            self._stopping, self._subscribers = True, ()
            self._changed.notify_all()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def fail(self, error: SPYv4Error) -> None:
        """Note that the source is of no use."""
        with self._changed:
            if not self._wanted:
                return
            self._state, self._error = State.LOST, error
            self._failures += 1
        # Those after it say the same, however long the source is tried again.
        logger.log(self._loss_level if self._failures == 1 else logging.DEBUG, "%s", error)

    def _want(self) -> None:
        """Note that frames are waited for from now on."""
        self._state, self._error, self._failures = State.OPENING, None, 0
        self._heard_at = time.monotonic()
        self._changed.notify_all()

    @property
    def _wanted(self) -> bool:
        return bool(self._subscribers) and not self._stopping

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._wanted)
                self._retry = False
            if self._stopping:
                return
            self._read_guarded()
            if self._state in (State.ENDED, State.LOST):
                for subscriber in self._subscribers:
                    subscriber.wake()
                self._rest()

    def _rest(self) -> None:
        """Wait after the end or a failure, until the source is to be opened again."""
        pause_s: float | None = None
        if self._state is State.LOST and self.source.may_come_back:
            pause_s = BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]
        with self._changed:
            self._changed.wait_for(lambda: self._retry or not self._wanted, pause_s)

    def _read_guarded(self) -> None:
        """Read until nobody wants it any more, the source ends or it fails."""
        try:
            self.source.open()
            self._openings += 1
            self._read()
        except SPYv4Error as failure:
            self.fail(failure)
        except Exception:
            logger.exception("reading %s failed", self.name)
            self.fail(SourceLostError(f"{self.name} failed; the log says more"))
        finally:
            self.source.close()

    def _read(self) -> None:
        rate = self.source.frame_rate
        pace = Pace(rate) if rate else None
        while True:
            asked_at = time.monotonic()
            image = self.source.read()
            if image is None:
                with self._changed:
                    if self._wanted:
                        self._state = State.ENDED
                return
            self._hand_on(image, asked_at)
            if pace is not None:
                with self._changed:
                    self._changed.wait_for(lambda: not self._wanted or self._retry, pace.delay_s())
            if not self._wanted or self._retry or self._state is State.LOST:
                return

    def _hand_on(self, image: NDArray[np.uint8], asked_at: float) -> None:
        """Offer a frame to all subscribers, unless they left meanwhile."""
        now = time.monotonic()
        seen, capture_ms = see([image], self._image_size), 1000 * (now - asked_at)
        frame = Frame(self.captured, self._openings, image, seen, now, capture_ms)
        with self._changed:
            if not self._wanted:
                return
            self._state, self._error, self._failures = State.RUNNING, None, 0
            self._heard_at = now
            self.captured += 1
            subscribers = self._subscribers
        self.rate.tick()
        for subscriber in subscribers:
            subscriber.offer(frame)
