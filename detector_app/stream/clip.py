"""The frames of a clip or recording, to its end or until it turns out to be damaged."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import cv2

from detector_app.errors import SourceError
from detector_app.stream.events import EventFrames
from detector_app.stream.recordings import is_recording
from detector_app.stream.sources import open_capture
from spyv4.preprocess import Frame

DEFAULT_RATE = 25.0
"""Frames per second of a clip that does not say."""
COUNTED = frozenset({".avi", ".m4v", ".mov", ".mp4"})
"""Files that hold how many frames they have. Of others it is estimated from their length."""
ESTIMATE_SHARE = 0.98
"""Share of the estimate that a whole clip has at least."""


class ClipFrame(NamedTuple):
    """A picture of a clip.

    Attributes:
        number: of the frame in the clip, from 0.
        time_s: when it is shown, in seconds from the start.
        image_bgr: uint8 [H, W, 3].
    """

    number: int
    time_s: float
    image_bgr: Frame


class Clip:
    """A video file that is open; a context manager that closes it.

    Args:
        path: of the file.
        every: take one frame in so many.
        name: what people call it; the path otherwise.

    Attributes:
        rate: frames per second of those that are taken.
        frames: how many will be taken, as far as the file knows; 0 where it does not.

    Raises:
        SourceError: if it is no video that can be read.
    """

    def __init__(self, path: Path, *, every: int = 1, name: str | None = None) -> None:
        self.path, self.every = path, every
        self._name = name or str(path)
        self._capture = cv2.VideoCapture()
        if not open_capture(self._capture, str(path)):
            raise SourceError(f"{self._name} is not a video that can be read; convert it to MP4")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = (rate if 1 <= rate <= 1000 else DEFAULT_RATE) / every
        self._promised = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.frames = -(-self._promised // every)

    @property
    def pixels(self) -> int:
        """Of a frame, as far as the file knows."""
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        width, height = (max(0, int(self._capture.get(side))) for side in sides)
        return width * height

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def __enter__(self) -> "Clip":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[ClipFrame]:
        """The frames in their order.

        Raises:
            SourceError: at the end, if frames are missing there.
        """
        index, taken = 0, 0
        while self._capture.grab():
            if index % self.every == 0:
                time_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                ok, image = self._capture.retrieve()
                if not ok:
                    break
                yield ClipFrame(index, time_s, image)  # type: ignore[arg-type]
                taken += 1
            index += 1
        needed = self._promised
        if self.path.suffix.lower() not in COUNTED:
            needed = int(needed * ESTIMATE_SHARE)
        if index < max(1, needed):
            raise SourceError(
                f"{self._name} cannot be decoded beyond frame {index} of {self._promised}; {taken} "
                "frames were done"
            )


class EventClip:
    """A recording of an event camera that is open, as a clip is.

    Args:
        path: of the file.
        every: take one frame in so many.
        window_ms: length of a frame in milliseconds.

    Attributes:
        rate: frames per second of those that are taken.
        frames: 0: the file does not know how many there are.

    Raises:
        SourceError: if it is none that can be read.
        RuntimeUnavailableError: if the `events` extra is not installed.
    """

    frames = 0

    def __init__(self, path: Path, *, every: int = 1, window_ms: float) -> None:
        self._frames = EventFrames(path, window_ms)
        self._every, self._window_s = every, window_ms / 1000
        self.rate = self._frames.rate / every

    def __enter__(self) -> "EventClip":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The file is closed with its last frame, or when this is forgotten."""

    def __iter__(self) -> Iterator[ClipFrame]:
        """The frames in their order, once.

        Raises:
            SourceError: at the end, if the recording is damaged there.
        """
        for index, image in enumerate(self._frames):
            if index % self._every == 0:
                yield ClipFrame(index, index * self._window_s, image)


def open_clip(path: Path, *, every: int, window_ms: float) -> Clip | EventClip:
    """A clip, or by its suffix a recording of an event camera.

    Raises:
        SourceError: if it is none that can be read.
        RuntimeUnavailableError: if a recording needs the `events` extra, which is not installed.
    """
    if is_recording(path):
        return EventClip(path, every=every, window_ms=window_ms)
    return Clip(path, every=every)
