"""The capture thread: reads a source into one slot that holds the newest frame alone."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from detector_app.errors import SourceLostError
from detector_app.sources import Pace, Source
from detector_app.telemetry import RateMeter
from spyv4.errors import SPYv4Error

logger = logging.getLogger(__name__)
JPEG_QUALITY = 82


@dataclass(frozen=True)
class Frame:
    """A captured picture.

    Attributes:
        id: counts up by one with every captured frame.
        image_bgr: uint8 [H, W, 3].
        captured_at: `time.monotonic()` of the capture, in seconds.
    """

    id: int
    image_bgr: NDArray[np.uint8]
    captured_at: float

    @cached_property
    def jpeg(self) -> bytes:
        """The picture as JPEG; encoded once, when first asked for."""
        _, data = cv2.imencode(".jpg", self.image_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return data.tobytes()


@dataclass(frozen=True)
class CaptureCounts:
    """What became of the frames: captured = consumed + dropped + pending."""

    captured: int
    consumed: int
    dropped: int
    pending: int


class Capture:
    """One thread that reads whichever source is selected; a newer frame replaces an older one.

    Args:
        on_change: called from the capture thread, without a lock held, after every new frame and
            when the source ends or fails.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._on_change = on_change
        self._lock = threading.Condition()
        self._source: Source | None = None
        self._selection = 0
        self._stopping = False
        self._slot: Frame | None = None
        self._captured = self._consumed = self._dropped = 0
        self._error: SPYv4Error | None = None
        self._ended = False
        self._last_frame_at = 0.0
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self.capture_rate, self.drop_rate = RateMeter(), RateMeter()

    def start(self) -> None:
        """Start the thread; it waits until a source is selected."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Let go of the source and end the thread; may be called any number of times."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def select(self, source: Source | None) -> None:
        """Read `source` from now on, or nothing; clears an earlier error. Never blocks."""
        with self._lock:
            self._source = source
            self._selection += 1
            self._error, self._ended = None, False
            self._last_frame_at = time.monotonic()
            if self._slot is not None:
                self._slot = None
                self._dropped += 1
            self._lock.notify_all()

    def take(self) -> Frame | None:
        """The newest frame, once, or None where there is no new one."""
        with self._lock:
            frame, self._slot = self._slot, None
            self._consumed += frame is not None
            return frame

    @property
    def pending(self) -> bool:
        """Whether a frame waits to be taken."""
        return self._slot is not None

    @property
    def source(self) -> Source | None:
        """What is being read, None where there is nothing selected, or it ended or failed."""
        return self._source

    @property
    def error(self) -> SPYv4Error | None:
        """Why the source failed, or None."""
        return self._error

    @property
    def ended(self) -> bool:
        """Whether the source came to its end."""
        return self._ended

    @property
    def silent_s(self) -> float:
        """Seconds since the last frame, or since the source was selected."""
        return time.monotonic() - self._last_frame_at

    @property
    def counts(self) -> CaptureCounts:
        """The counters, taken together."""
        with self._lock:
            pending = int(self._slot is not None)
            return CaptureCounts(self._captured, self._consumed, self._dropped, pending)

    def fail(self, error: SPYv4Error, selection: int | None = None) -> None:
        """Note that the source failed, and let go of it.

        Args:
            error: why.
            selection: which one failed, if not the present one: nothing is done where another
                has been selected since.
        """
        with self._lock:
            if selection is not None and selection != self._selection:
                return
            self._error, self._source = error, None
            self._selection += 1
            self._lock.notify_all()
        logger.error("%s", error)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._stopping or self._source is not None)
                source, selection = self._source, self._selection
            if self._stopping or source is None:
                return
            self._read_guarded(source, selection)
            self._on_change()

    def _read_guarded(self, source: Source, selection: int) -> None:
        """Read until the selection changes, the source ends or it fails."""
        error: SPYv4Error | None = None
        try:
            source.open()
            self._read(source, selection)
        except SPYv4Error as failure:
            error = failure
        except Exception:
            logger.exception("the capture thread failed")
            error = SourceLostError(f"{source.name} failed; the log says more")
        finally:
            source.close()
        if error is not None and not self._stopping:
            self.fail(error, selection)
        with self._lock:
            if self._is_current(selection):
                self._ended, self._source = True, None

    def _read(self, source: Source, selection: int) -> None:
        pace = Pace(source.frame_rate) if source.frame_rate else None
        while self._is_current(selection):
            image = source.read()
            if image is None or not self._offer(image, selection):
                return
            self._on_change()
            if pace is not None:
                with self._lock:
                    self._lock.wait_for(lambda: not self._is_current(selection), pace.delay_s())

    def _offer(self, image: NDArray[np.uint8], selection: int) -> bool:
        """Put a frame into the slot; False where it is not wanted any more."""
        now = time.monotonic()
        with self._lock:
            if not self._is_current(selection):
                return False
            replaced = self._slot is not None
            self._slot = Frame(self._captured, image, now)
            self._captured += 1
            self._dropped += replaced
            self._last_frame_at = now
        self.capture_rate.tick()
        if replaced:
            self.drop_rate.tick()
        return True

    def _is_current(self, selection: int) -> bool:
        return not self._stopping and selection == self._selection
