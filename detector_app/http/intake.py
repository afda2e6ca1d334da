"""The way of a sent picture to its boxes, the same over HTTP and the WebSocket."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detector_app.errors import ServerBusyError, ServerClosingError
from detector_app.http.limits import Budget, Lease
from detector_app.http.uploads import count_pixels
from detector_app.stream.scheduler import Scheduler, Work
from detector_app.stream.telemetry import LatencyWindow, RateMeter
from spyv4 import Detections, ReadOptions
from spyv4.config import ModelConfig
from spyv4.preprocess import read_image
from spyv4.reading import Look, Seen, see

PIXELS_IN_FLIGHT = 50_000_000
"""How many pixels may be decoded at a time.

One picture of 50 megapixels takes 150 MB, and up to three times as much while it is decoded. Once
it is stretched to the network's size it is let go of, unless boxes are to be drawn onto it.
"""

JPEG_QUALITY = 90
DECODERS = 2
"""How many threads decode: the C library keeps hundreds of megabytes for each that ever did."""

Image = NDArray[np.uint8]


class Looked(NamedTuple):
    """What became of a sent picture.

    Attributes:
        detections: what was found.
        jpeg: the picture with the boxes, where that was asked for.
    """

    detections: Detections
    jpeg: bytes | None


@dataclass(frozen=True)
class Room:
    """How much may wait.

    Attributes:
        pictures: how many.
        reads: how many reads they may ask for in all.
        pixels: of the largest.
    """

    pictures: int
    reads: int
    pixels: int


class Intake:
    """Decodes pictures and has them looked at, as far as there is room.

    Its methods are for the event loop alone.

    Args:
        scheduler: looks at them.
        room: how much may wait.

    Attributes:
        done: how many pictures were looked at to the end.
        rate: that, per second.
        latency: from a picture being decoded to its last read.
        refused: set once what waits is given up.
    """

    def __init__(self, scheduler: Scheduler, room: Room) -> None:
        self.room = room
        self.done = 0
        self.rate, self.latency = RateMeter(), LatencyWindow()
        self._scheduler = scheduler
        self._pixels = Budget(max(room.pixels, PIXELS_IN_FLIGHT))
        self._decoders = ThreadPoolExecutor(DECODERS, "decode")
        self._works: set[Work] = set()
        self.refused = asyncio.Event()
        self._closing = False

    def close(self) -> None:
        """Have no room for more; what is on its way is looked at while there is time."""
        self._closing = True

    def refuse(self) -> None:
        """Give up what waits and what still comes."""
        self._closing = True
        self.refused.set()
        for work in list(self._works):
            work.end(ServerClosingError())

    def stop(self) -> None:
        """End the threads that decode."""
        self._decoders.shutdown(wait=False, cancel_futures=True)

    @property
    def model(self) -> ModelConfig:
        """Configuration of the network that looks."""
        return self._scheduler.detector.config

    @property
    def waiting(self) -> int:
        """How many pictures wait or are looked at."""
        return len(self._works)

    @property
    def owed(self) -> int:
        """How many reads they still want."""
        return sum(work.owed for work in self._works)

    def require_room(self, reads: int = 1) -> None:
        """Raise where a picture could not be taken now.

        Raises:
            ServerBusyError: too many wait; says when to come back.
            ServerClosingError: the server is ending.
            DetectorFailedError: nothing can be looked at any more.
        """
        self._scheduler.require()
        if self._closing:
            raise ServerClosingError
        self._require_place(reads)

    def _require_place(self, reads: int) -> None:
        owed = self.owed
        full = self.waiting >= self.room.pictures
        if full or (self._works and owed + reads > self.room.reads):
            what = f"{self.waiting} pictures" if full else f"{owed} reads"
            per_s = max(1.0, self._scheduler.read_rate.per_s)
            wait_s = math.ceil(min(60.0, owed / per_s / 2))
            raise ServerBusyError(f"{what} wait already; send this one again", max(1, wait_s))

    async def look(
        self,
        data: bytes,
        options: ReadOptions,
        on_read: Callable[[Detections, bool], None] | None = None,
        *,
        release: Callable[[], None],
        rasters: bool = False,
        annotated: bool = False,
    ) -> Looked:
        """Decode a picture once there is room, and have the detector look at it.

        Cancelling this ends the look.

        Args:
            data: the picture as it was sent; the caller should let go of it.
            options: how to look at it; resolved.
            on_read: called in the inference thread after every read, with whether it is the last;
                must be quick.
            release: called once it is decoded and `data` let go of.
            rasters: also sample the spikes of every layer.
            annotated: also draw the boxes onto the picture.

        Raises:
            ImageError: not a picture, or a damaged one.
            PayloadTooLargeError: more pixels than there is room for.
            ServerBusyError: too many wait.
            ServerClosingError: the server is ending.
            DetectorFailedError: nothing can be looked at any more.
        """
        # A traceback would keep what is in a variable here for long after its room was given away.
        count = await asyncio.to_thread(count_pixels, data, self.room.pixels)
        lease = await self._pixels.lease(count)
        seen, image = await self._decode(data, lease, keep=annotated)
        del data
        release()
        if not annotated:
            lease.release()
        layers = self._scheduler.detector.layer_names if rasters else ()
        shown = replace(options, activity=True, raster_layers=layers)
        try:
            found = await self._read(seen, shown, on_read)
            jpeg = None
            if image is not None:
                loop = asyncio.get_running_loop()
                jpeg = await loop.run_in_executor(self._decoders, _draw, image, found)
        finally:
            del image
            lease.release()
        return Looked(found, jpeg)

    async def _read(
        self, seen: Seen, options: ReadOptions, on_read: Callable[[Detections, bool], None] | None
    ) -> Detections:
        """All reads of a picture."""
        loop, started = asyncio.get_running_loop(), time.monotonic()
        answer: asyncio.Future[Detections] = loop.create_future()
        newest: list[Detections] = []

        def show(look: Look) -> None:
            newest[:] = look.detections()
            if on_read is not None:
                on_read(newest[0], look.finished)

        def end(error: Exception | None) -> None:
            try:
                loop.call_soon_threadsafe(_settle, answer, newest, error)
            except RuntimeError:  # the loop is closed: nobody waits
                return

        if self.refused.is_set():
            raise ServerClosingError
        self._require_place(options.most_reads(self.model))
        work = self._scheduler.submit(seen, options, show, end, last_alone=on_read is None)
        self._works.add(work)
        try:
            found = await answer
        finally:
            work.cancel()
            self._works.discard(work)
        self.done += 1
        self.rate.tick()
        self.latency.add(1000 * (time.monotonic() - started))
        return found

    async def _decode(self, data: bytes, lease: Lease, *, keep: bool) -> tuple[Seen, Image | None]:
        """Decode a picture in a thread; the lease ends where it fails or is cancelled."""
        size = self._scheduler.detector.image_size
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._decoders, _decode, data, size, keep)
        try:
            return await asyncio.shield(work)
        except BaseException:
            # Where the client left, the thread goes on for a while, and uses the memory.
            work.add_done_callback(lambda done: _give_up(done, lease))
            raise
        finally:
            del work  # a traceback would keep it, and the picture


def _settle(
    answer: "asyncio.Future[Detections]", newest: list[Detections], error: Exception | None
) -> None:
    """Answer who waits, if anybody does still."""
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(newest[0])


def _decode(data: bytes, image_size: tuple[int, int], keep: bool) -> tuple[Seen, Image | None]:
    """A picture as the network sees it, and itself where it is to be kept."""
    image = read_image(data)
    return see([image], image_size), image if keep else None


def _draw(image_bgr: Image, detections: Detections) -> bytes:
    """The picture with its boxes as JPEG."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode(".jpg", detections.plot(image_bgr), quality)[1].tobytes()


def _give_up(work: "asyncio.Future[tuple[Seen, Image | None]]", lease: Lease) -> None:
    """Make room after a picture that failed, or that nobody waits for."""
    lease.release()
    if not work.cancelled():
        work.exception()  # or asyncio would complain that nobody asked
