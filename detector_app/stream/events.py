"""Frames made of the events of a recording, for a detector that looks at pictures."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector_app.errors import SourceError, SourceLostError
from detector_app.stream.recordings import open_recording

GREY, EVENT_STEP = 128, 32
"""A pixel without events, and how much an event adds to it or takes away."""
MAX_STILL_S = 60.0
"""A recording whose clock leaps further is damaged; up to that, frames without events are grey."""
MAX_BACK_S = 1.0
"""One whose clock goes back further is damaged; events that are less late count at once."""

Image = NDArray[np.uint8]


class EventFrames:
    """A recording as frames of the same length, at the sensor's size.

    A frame holds the events of `window_ms` milliseconds. A pixel is 128 where as many said brighter
    as darker, 32 more for every event of the former, 32 less for each of the latter, and at most
    255, at least 0. Its three channels are equal.

    Args:
        path: of the recording.
        window_ms: length of a frame in milliseconds, > 0.

    Attributes:
        rate: frames per second.

    Raises:
        SourceError: if it is none that can be read.
        RuntimeUnavailableError: if the `events` extra is not installed.
    """

    def __init__(self, path: Path, window_ms: float) -> None:
        self.rate = 1000 / window_ms
        self._name, self._window_us = path.name, 1000 * window_ms
        self._recording = open_recording(path)

    def __iter__(self) -> Iterator[Image]:
        """The frames, BGR uint8 [H, W, 3], from the first event to the last; once.

        Raises:
            SourceError: where the recording is damaged, after the frames before, or has no events.
        """
        net = np.zeros(self._recording.size, np.int32)
        clock: _Clock | None = None
        current = 0
        for piece in self._recording.pieces:
            if not len(piece.x):
                continue
            clock = clock or _Clock(self._name, int(piece.time_us[0]))
            windows = (clock.elapsed_us(piece.time_us) // self._window_us).astype(np.int64)
            bounds = [0, *(np.flatnonzero(np.diff(windows)) + 1), len(windows)]
            for start, end in pairwise(bounds):
                while current < windows[start]:
                    yield _picture(net)
                    net[:] = 0
                    current += 1
                steps = np.where(piece.on[start:end], 1, -1)
                np.add.at(net, (piece.y[start:end], piece.x[start:end]), steps)
        if clock is None:
            raise SourceError(f"{self._name} holds no events")
        yield _picture(net)


class _Clock:
    """The time of a recording, which never goes back.

    Args:
        name: of the recording.
        first_us: of its first event.
    """

    def __init__(self, name: str, first_us: int) -> None:
        self._name = name
        self._first_us = self._newest_us = first_us

    def elapsed_us(self, time_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """The times of events since the first, [N]; late events are as late as those before them.

        Raises:
            SourceError: if the clock leaps or goes back further than any does.
        """
        newest = np.maximum.accumulate(np.maximum(time_us, self._newest_us))
        leap_s = np.diff(newest, prepend=self._newest_us).max() / 1e6
        back_s = (newest - time_us).max() / 1e6
        if leap_s > MAX_STILL_S or back_s > MAX_BACK_S:
            what = f"goes back by {back_s:.0f}" if back_s > MAX_BACK_S else f"leaps by {leap_s:.0f}"
            raise SourceError(f"the clock of {self._name} {what} seconds; the file is damaged")
        self._newest_us = int(newest[-1])
        return newest - self._first_us


class EventSource:
    """A recording as a source of frames, in real time; again from the start where `loop` is set."""

    may_come_back = False

    def __init__(self, path: Path, window_ms: float, *, loop: bool = False) -> None:
        self.path, self.loop, self._window_ms = path, loop, window_ms
        self.name = path.name
        self.frame_rate: float | None = 1000 / window_ms
        self._frames: Iterator[Image] = iter(())

    def open(self) -> None:
        """Open the file at its first event."""
        self._frames = iter(EventFrames(self.path, self._window_ms))

    def read(self) -> Image | None:
        """The next frame."""
        frame = next(self._frames, None)
        if frame is None and self.loop:
            self.open()
            frame = next(self._frames, None)
            if frame is None:
                raise SourceLostError(f"{self.name} cannot be read any more")
        return frame

    def close(self) -> None:
        """Close the file."""
        self._frames = iter(())


def _picture(net: NDArray[np.int32]) -> Image:
    """The brightness of pixels with so many more events of one kind than of the other."""
    grey = np.clip(GREY + EVENT_STEP * net, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
