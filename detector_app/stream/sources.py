"""Where frames come from: cameras, streams, clips, recordings of events, pictures and the demo."""

import glob
import logging
import os
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from detector_app.choices import EVENT_WINDOW_MS
from detector_app.errors import SourceError, SourceLostError
from detector_app.stream.demo import DemoSource
from detector_app.stream.events import EventSource
from detector_app.stream.recordings import is_recording, require_reader
from spyv4.errors import ImageError
from spyv4.preprocess import read_image

logger = logging.getLogger(__name__)
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
DEMO = DemoSource.name
HOLD_S = 2.0
"""How long a still picture is shown before the next."""
STILL_RATE = 10.0
"""Frames per second made of a still picture."""
STREAM_TIMEOUT_MS = 8000
"""How long a network stream may take to open, or to deliver a frame."""

Image = NDArray[np.uint8]


class Source(Protocol):
    """A sequence of pictures; one thread opens, reads and closes it.

    Attributes:
        name: what people call it.
        frame_rate: frames per second that the reader should keep to, or None where `read` itself
            waits for the next picture, as a camera does.
        may_come_back: whether one that failed may be there again after a while, as a camera may
            that is plugged in again.
    """

    name: str
    frame_rate: float | None
    may_come_back: bool

    def open(self) -> None:
        """Get ready; raises `SourceError` where that fails."""

    def read(self) -> Image | None:
        """The next picture (BGR), or None at the end; raises `SourceError` on failure."""

    def close(self) -> None:
        """Let go of everything; harmless when not open."""


class CameraSource:
    """A local camera by number, or a network stream by address."""

    frame_rate: float | None = None
    may_come_back = True

    def __init__(self, address: int | str) -> None:
        self.address = address
        self.name = f"camera {address}" if isinstance(address, int) else _without_login(address)
        self._capture = cv2.VideoCapture()

    def open(self) -> None:
        """Open the device."""
        if not open_capture(self._capture, self.address):
            raise SourceError(
                f"{self.name} cannot be opened; check that it is connected, allowed and not in "
                "use, or try --source demo"
            )
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def read(self) -> Image:
        """Wait for the next picture."""
        ok, frame = self._capture.read()
        if not ok:
            raise SourceLostError(
                f"{self.name} stopped delivering pictures; check its connection and start again"
            )
        return frame  # type: ignore[return-value]

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


class VideoSource:
    """A clip, at its own frame rate, like a camera; again from the start where `loop` is set.

    Where it is not `paced`, its frames come as fast as they are taken.
    """

    may_come_back = False

    def __init__(self, path: Path, *, loop: bool = False, paced: bool = True) -> None:
        self.path, self.loop, self._paced = path, loop, paced
        self.name = path.name
        self.frame_rate: float | None = 25.0 if paced else None
        self._capture = cv2.VideoCapture()

    def open(self) -> None:
        """Open the file at its first frame."""
        if not open_capture(self._capture, str(self.path)):
            raise SourceError(f"{self.name} is not a video that can be read; convert it to MP4")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        if self._paced and 1 <= rate <= 1000:
            self.frame_rate = rate

    def read(self) -> Image | None:
        """The next frame."""
        ok, frame = self._capture.read()
        if not ok and self.loop:
            self.open()
            ok, frame = self._capture.read()
            if not ok:
                raise SourceLostError(f"{self.name} cannot be read any more")
        return frame if ok else None  # type: ignore[return-value]

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class ImagesSource:
    """Pictures one after the other, each shown for `HOLD_S` seconds.

    One that cannot be read is passed over, with a line in the log.
    """

    frame_rate: float | None = STILL_RATE
    may_come_back = False

    def __init__(self, name: str, paths: list[Path], *, loop: bool = False) -> None:
        self.name, self.paths, self.loop = name, paths, loop
        self._index, self._shown = 0, 0
        self._any = False
        self._image: Image | None = None

    def open(self) -> None:
        """Start with the first picture."""
        self._index, self._shown, self._image = 0, 0, None

    def read(self) -> Image | None:
        """The picture that is on show."""
        if self._shown >= HOLD_S * STILL_RATE:
            self._index, self._shown, self._image = self._index + 1, 0, None
        if self._image is None:
            self._image = self._next()
        self._shown += 1
        return self._image

    def _next(self) -> Image | None:
        """The next picture that can be read; None where there are no more.

        Raises:
            SourceLostError: if none of them can.
        """
        for _ in self.paths:
            if self._index >= len(self.paths):
                if not self.loop:
                    return None
                self._index = 0
            try:
                image = read_image(self.paths[self._index])
            except (ImageError, OSError) as error:
                logger.warning("%s: %s", self.name, error)
                self._index += 1
            else:
                self._any = True
                return image
        if self._any and not self.loop:
            return None
        raise SourceLostError(f"no picture of {self.name} can be read")

    def close(self) -> None:
        """Nothing to let go of."""
        self._image = None


def parse_source(
    text: str, *, loop: bool = False, event_window_ms: float = EVENT_WINDOW_MS
) -> Source:
    """The source that `text` names.

    Args:
        text: a camera's number, an address with `://`, `demo`, or a file, folder or pattern of
            pictures.
        loop: start again at the end of files; a single picture stays in any case.
        event_window_ms: length of a frame made of a recording's events, in milliseconds.

    Raises:
        SourceError: where nothing has that name. Cameras are looked for only when opened.
        RuntimeUnavailableError: for a recording, if the `events` extra is not installed.
    """
    text = text.strip()
    if text == DEMO:
        return DemoSource()
    if text.isdecimal():
        return CameraSource(int(text))
    if "://" in text:
        return CameraSource(text)
    path = Path(text)
    if path.is_dir():
        return _images(path.resolve().name, sorted(path.iterdir()), loop)
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return ImagesSource(path.name, [path], loop=True)
        if is_recording(path):
            require_reader(path)
            return EventSource(path, event_window_ms, loop=loop)
        return VideoSource(path, loop=loop)
    if glob.has_magic(text):
        return _images(path.name, [Path(match) for match in sorted(glob.glob(text))], loop)  # noqa: PTH207 - any path
    raise SourceError(
        f"there is no source {text!r}; give a camera number (0), a file, a folder, a pattern, "
        "an address such as rtsp://host/stream, or demo"
    )


def _images(name: str, paths: list[Path], loop: bool) -> ImagesSource:
    """The pictures among `paths`."""
    # A pipe or device among them would block the thread that reads.
    pictures = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not pictures:
        raise SourceError(f"{name} holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return ImagesSource(name, pictures, loop=loop)


def open_capture(capture: cv2.VideoCapture, address: int | str) -> bool:
    """Open, with limits where a host might not answer; see `quieten`."""
    if isinstance(address, int) or "://" not in address:
        return capture.open(address)
    # Without limits a host that does not answer holds up the thread. Reading fails only once the
    # limit has passed three times.
    opening, reading = cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC
    limits = [opening, STREAM_TIMEOUT_MS, reading, STREAM_TIMEOUT_MS // 3]
    return capture.open(address, cv2.CAP_FFMPEG, limits)


def quieten() -> None:
    """Keep OpenCV's own warnings and FFmpeg's off the terminal, since ours say what is wrong.

    For commands, at their start: the setting is the process's, and is not for threads to change.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def _without_login(address: str) -> str:
    """An address without the user name and password it may carry."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Pace:
    """Keeps a reader to a frame rate, without catching up after a delay."""

    def __init__(self, frame_rate: float) -> None:
        self._interval_s = 1 / frame_rate
        self._due = time.monotonic()

    def delay_s(self) -> float:
        """Seconds to wait before the next frame, 0 or more."""
        now = time.monotonic()
        self._due = max(self._due + self._interval_s, now)
        return self._due - now
