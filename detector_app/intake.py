"""The way of a sent picture to its boxes, the same over HTTP and the WebSocket."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from detector_app.limits import Budget, Lease
from detector_app.pipeline import Pipeline
from detector_app.uploads import count_pixels, decode
from spyv4 import Detections, ReadOptions

PIXELS_IN_FLIGHT = 50_000_000
"""How many pixels may be decoded at a time, whether they wait or are looked at.

One picture of 50 megapixels takes 150 MB, and up to three times as much while it is decoded.
"""

DECODERS = 2
"""How many threads decode: the C library keeps hundreds of megabytes for each that ever did."""


class Decoded:
    """A picture and its part of the pixels in flight.

    Args:
        image_bgr: uint8 [H, W, 3].
        lease: released once the picture is looked at.
    """

    def __init__(self, image_bgr: NDArray[np.uint8], lease: Lease) -> None:
        self._images = [image_bgr]
        self.lease = lease

    def take(self) -> NDArray[np.uint8]:
        """The picture, once: what keeps this does not keep it any more."""
        return self._images.pop()


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

    async def decode(self, data: bytes) -> Decoded:
        """Decode a picture as soon as there is room; it must then be looked at, to make room.

        Raises:
            NotAnImageError: not a picture, or a damaged one.
            PayloadTooLargeError: more than `max_pixels` pixels.
        """
        count = await asyncio.to_thread(count_pixels, data, self._max_pixels)
        lease = await self._pixels.lease(count)
        work = asyncio.get_running_loop().run_in_executor(self._decoders, decode, data)
        try:
            return Decoded(await asyncio.shield(work), lease)
        except BaseException:
            # Where the client left, the thread goes on for a while, and uses the memory.
            work.add_done_callback(lambda done: _give_up(done, lease))
            del work  # a traceback would keep it, and the picture
            raise

    async def look(
        self,
        picture: Decoded,
        options: ReadOptions,
        on_read: Callable[[Detections], None] | None = None,
        *,
        rasters: bool = False,
    ) -> Detections:
        """Have the detector look at a picture; cancelling this ends the look.

        Raises:
            PipelineBusyError: too many wait.
            PipelineStateError: the pipeline does not run.
            PipelineFailedError: the inference thread broke down.
        """
        loop, lease = asyncio.get_running_loop(), picture.lease
        # A traceback would keep what is in a variable here for long after its room was given away.
        image = picture.take()
        try:
            answer = self._pipeline.submit(image, options, on_read, rasters=rasters)
        except BaseException:
            lease.release()
            raise
        finally:
            del image

        def make_room(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(lease.release)

        answer.add_done_callback(make_room)
        return await asyncio.wrap_future(answer)


def _give_up(work: "asyncio.Future[NDArray[np.uint8]]", lease: Lease) -> None:
    """Make room after a picture that failed, or that nobody waits for."""
    lease.release()
    if not work.cancelled():
        work.exception()  # or asyncio would complain that nobody asked
