"""Clips that clients send: every frame is looked at, and a line of JSON goes back for each."""

import asyncio
import contextlib
import json
import logging
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector_app.errors import PayloadTooLargeError, ServerClosingError, SourceError
from detector_app.http.limits import Places
from detector_app.http.schemas import read_result
from detector_app.stream.clip import Clip
from detector_app.stream.feed import Feed
from detector_app.stream.scheduler import Scheduler
from detector_app.stream.states import Policy
from detector_app.stream.stream import Stream
from detector_app.stream.viewer import Update, Viewer
from spyv4 import ReadOptions
from spyv4.errors import ImageError, SPYv4Error

logger = logging.getLogger(__name__)
SIGNATURES = ((4, b"ftyp", ".mp4"), (8, b"AVI LIST", ".avi"), (0, b"\x1aE\xdf\xa3", ".mkv"))
"""How the files begin that strangers may send. Others that FFmpeg knows can name further files."""
PATIENCE_S = 0.5


def clip_suffix(data: bytes) -> str | None:
    """The suffix of a clip by how it begins, or None where it is none."""
    for place, signature, suffix in SIGNATURES:
        if data[place : place + len(signature)] == signature:
            return suffix
    return None


class ClipSource:
    """The frames of a clip as fast as they are taken.

    Args:
        path: of the file.
        every: take one frame in so many.
        max_pixels: of a frame.

    Attributes:
        rate: frames per second of those that are taken; known once it is open.
    """

    name = "the clip"
    frame_rate: float | None = None
    may_come_back = False

    def __init__(self, path: Path, every: int, max_pixels: int) -> None:
        self._path, self._every, self._max_pixels = path, every, max_pixels
        self._clip: Clip | None = None
        self._frames: Iterator[Any] = iter(())
        self.rate = 1.0

    def open(self) -> None:
        """Open the file.

        Raises:
            SourceError: if it is no video that can be read.
            PayloadTooLargeError: if its frames are too large.
        """
        self._clip = Clip(self._path, every=self._every, name=self.name)
        self.rate = self._clip.rate
        if self._clip.pixels > self._max_pixels:
            raise PayloadTooLargeError(
                f"frames of the clip have more than {self._max_pixels / 1e6:g} million pixels; "
                "send a smaller one"
            )
        self._frames = iter(self._clip)

    def read(self) -> NDArray[np.uint8] | None:
        """The next frame, or None at the end."""
        frame = next(self._frames, None)
        return None if frame is None else frame.image_bgr

    def close(self) -> None:
        """Close the file."""
        if self._clip is not None:
            self._clip.close()


class Clips:
    """Looks at clips, a few at a time.

    Args:
        scheduler: looks at the frames.
        most: how many clips are looked at at a time.
        max_pixels: of a frame.
        refused: set where the server ends.
    """

    def __init__(
        self, scheduler: Scheduler, most: int, max_pixels: int, refused: asyncio.Event
    ) -> None:
        self._scheduler, self._max_pixels, self._refused = scheduler, max_pixels, refused
        self.places = Places(most, f"{most} clips are looked at already; send it again later")

    async def lines(self, data: bytes, options: ReadOptions, every: int) -> AsyncIterator[bytes]:
        """A line of JSON for every frame, as it was looked at; the last one may say an error.

        Closing the iterator ends the look.

        Args:
            data: the file.
            options: how to look; resolved.
            every: look at one frame in so many.

        Raises:
            ServerBusyError: where no more clips can be taken.
            ImageError: if it is no video that can be read.
            PayloadTooLargeError: if its frames are too large.
        """
        with self.places.take(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"clip{clip_suffix(data)}"
            await asyncio.to_thread(path.write_bytes, data)
            del data
            source = ClipSource(path, every, self._max_pixels)
            feed = Feed(source, self._scheduler.detector.image_size)
            stream = Stream(feed, self._scheduler, options, Policy.EVERY)
            try:
                async with contextlib.aclosing(self._follow(stream, options)) as updates:
                    async for update in updates:
                        yield _line(update, update.frame.id * every, every * source.rate)
            finally:
                stream.close()
                feed.stop(0)  # the thread ends by itself

    async def _follow(self, stream: Stream, options: ReadOptions) -> AsyncGenerator[Update, None]:
        """The last read of every frame."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody to wake
                loop.call_soon_threadsafe(arrived.set)

        viewer = Viewer(options, notify)
        stream.add(viewer)
        while True:
            finished = stream.finished
            for update in viewer.drain():
                yield update
            self._scheduler.require()
            if self._refused.is_set():
                raise ServerClosingError
            if stream.feed.error is not None:
                raise stream.feed.error
            if finished:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await arrived.wait()
            arrived.clear()


async def begun(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`lines` of which the first has come, so that an error before it gets a status of its own.

    Raises:
        ImageError: where it is no clip that can be read.
    """
    try:
        first = await anext(lines, b"")
    except SourceError as error:
        raise ImageError(str(error)) from None

    async def go_on() -> AsyncIterator[bytes]:
        yield first
        try:
            async for line in lines:
                yield line
        except SPYv4Error as error:  # the status was sent: the last line says it
            yield _json({"detail": str(error)})
        except Exception:
            logger.exception("a clip failed")
            yield _json({"detail": "the server failed; its log says more"})

    return go_on()


def _line(update: Update, number: int, rate: float) -> bytes:
    found = update.detections
    place = {"frame": number, "time_s": round(number / rate, 3)}
    size = {"width": found.image_size[1], "height": found.image_size[0]}
    return _json(place | size | read_result(found))


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
