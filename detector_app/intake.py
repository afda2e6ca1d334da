"""The way of a sent picture to its boxes, the same over HTTP and the WebSocket."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detector_app.limits import Budget, Lease
from detector_app.pipeline import Pipeline
from detector_app.uploads import count_pixels
from spyv4 import Detections, ReadOptions
from spyv4.preprocess import read_image

PIXELS_IN_FLIGHT = 50_000_000
"""How many pixels may be decoded at a time, whether they wait or are looked at.

One picture of 50 megapixels takes 150 MB, and up to three times as much while it is decoded.
"""

JPEG_QUALITY = 90
DECODERS = 2
"""How many threads decode: the C library keeps hundreds of megabytes for each that ever did."""


class Looked(NamedTuple):
    """What became of a sent picture.

    Attributes:
        detections: what was found.
        jpeg: the picture with the boxes, where that was asked for.
    """

    detections: Detections
    jpeg: bytes | None


class Intake:
    """Decodes pictures and has them looked at, within a budget of pixels.

    Args:
        pipeline: looks at them.
        max_pixels: largest picture.
    """

    def __init__(self, pipeline: Pipeline, max_pixels: int) -> None:
        self._pipeline, self._max_pixels = pipeline, max_pixels
        self._pixels = Budget(max(max_pixels, PIXELS_IN_FLIGHT))
        self._decoders = ThreadPoolExecutor(DECODERS, "decode")

    def close(self) -> None:
        """End the threads that decode."""
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def look(
        self,
        data: bytes,
        options: ReadOptions,
        on_read: Callable[[Detections], None] | None = None,
        *,
        release: Callable[[], None],
        rasters: bool = False,
        annotated: bool = False,
    ) -> Looked:
        """Decode a picture once there is room, and have the detector look at it.

        Cancelling this ends the look.

        Args:
            data: the picture as it was sent; the caller should let go of it.
            options: how to look at it.
            on_read: called in the inference thread after every read; must be quick.
            release: called once it is decoded and `data` let go of.
            rasters: also sample the spikes of every layer.
            annotated: also draw the boxes onto the picture.

        Raises:
            ImageError: not a picture, or a damaged one.
            PayloadTooLargeError: more than `max_pixels` pixels.
            PipelineBusyError: too many wait.
            PipelineStateError: the pipeline does not run.
            PipelineFailedError: the inference thread broke down.
        """
        # A traceback would keep what is in a variable here for long after its room was given away.
        count = await asyncio.to_thread(count_pixels, data, self._max_pixels)
        lease = await self._pixels.lease(count)
        image = await self._decode(data, lease)
        del data
        release()
        try:
            answer = self._pipeline.submit(image, options, on_read, rasters=rasters)
        except BaseException:
            lease.release()
            del image
            raise
        loop, jpeg = asyncio.get_running_loop(), None
        try:
            if annotated:
                found = await asyncio.wrap_future(answer)
                jpeg = await loop.run_in_executor(self._decoders, _draw, image, found)
        finally:
            del image
            answer.add_done_callback(_releasing(lease, loop))
        return Looked(await asyncio.wrap_future(answer), jpeg)

    async def _decode(self, data: bytes, lease: Lease) -> NDArray[np.uint8]:
        """Decode a picture in a thread; the lease ends where it fails or is cancelled."""
        work = asyncio.get_running_loop().run_in_executor(self._decoders, read_image, data)
        try:
            return await asyncio.shield(work)
        except BaseException:
            # Where the client left, the thread goes on for a while, and uses the memory.
            work.add_done_callback(lambda done: _give_up(done, lease))
            raise
        finally:
            del work  # a traceback would keep it, and the picture


def _releasing(lease: Lease, loop: asyncio.AbstractEventLoop) -> Callable[[object], None]:
    """What makes room, called from any thread."""

    def release(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(lease.release)

    return release


def _draw(image_bgr: NDArray[np.uint8], detections: Detections) -> bytes:
    """The picture with its boxes as JPEG."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode(".jpg", detections.plot(image_bgr), quality)[1].tobytes()


def _give_up(work: "asyncio.Future[NDArray[np.uint8]]", lease: Lease) -> None:
    """Make room after a picture that failed, or that nobody waits for."""
    lease.release()
    if not work.cancelled():
        work.exception()  # or asyncio would complain that nobody asked
