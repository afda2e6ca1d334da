"""The WebSocket `/ws`: frames, boxes and rasters of every read.

Server to client, JSON text unless said otherwise:

- `hello`: once; `version`, `model`, `runtime`, `layers` (shallow to deep), `shown_layers` (the two
  to show at first), `classes` (name and colour), `sources`, `max_reads`, `max_body_bytes`,
  `settings`.
- binary: one live frame; four bytes with its number (unsigned, big-endian), then a JPEG.
- `read`: the boxes after one read. `frame` (its number; of a picture the client sent: how many it
  sent before), `own` (whether the client sent it), `width`, `height`, `read`, `reads`,
  `detections`, `firing_rates`
  (a list in the order of `layers`), `rasters` (by layer `[neurons, base64 of packed bits]`, most
  significant bit first), `latency_ms`, `timings_ms`.
- `statistics`: twice a second; that of `/api/health`, and `settings`.
- `error`: `message`, `own` (whether it ends the look at a picture the client sent); the connection
  stays open.

Client to server:

- `{"type": "settings", "reads": 4, "score_threshold": 0.5, "iou_threshold": 0.3}`: for the live
  frames and the pictures of every viewer.
- `{"type": "watch", "on": true}`: whether live frames are wanted; they are at first.
- `{"type": "shown", "frame": 7}`: a live frame was drawn. At most `FRAMES_IN_FLIGHT` are sent
  ahead of this, so that a slow client skips frames and never falls behind.
- binary: a picture to look at (visitor's camera, upload). The next one only after the last `read`
  or an `error` of `own` has come.
"""

import asyncio
import base64
import contextlib
import json
import logging
import struct
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect

from detector_app.exchange import Mailbox, Update
from detector_app.health import statistics
from detector_app.pipeline import Pipeline
from detector_app.schemas import boxes_of, check_parameters
from detector_app.uploads import decode_upload
from spyv4 import Detections
from spyv4.errors import SPYv4Error

logger = logging.getLogger(__name__)
FRAMES_IN_FLIGHT = 2
STATISTICS_INTERVAL_S = 0.5


class LiveConnection:
    """One client of the WebSocket.

    Args:
        websocket: not yet accepted.
        pipeline: where frames and detections come from.
        hello: the first message.
        max_pixels: largest picture that the client may send.
    """

    def __init__(
        self, websocket: WebSocket, pipeline: Pipeline, hello: Mapping[str, Any], max_pixels: int
    ) -> None:
        self._websocket, self._pipeline = websocket, pipeline
        self._hello, self._max_pixels = hello, max_pixels
        self._max_reads: int = hello["max_reads"]
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._mailbox = Mailbox(self._wake)
        self._outbox: deque[dict[str, Any]] = deque()
        self._unshown: set[int] = set()
        self._frame = -1
        self._own_frames = 0
        self._own_busy = False
        self._own_task: asyncio.Task[None] | None = None
        self._statistics_at = 0.0

    async def run(self) -> None:
        """Serve the client until it goes."""
        await self._websocket.accept()
        sender = asyncio.create_task(self._send_all())
        receiver = asyncio.create_task(self._receive_all())
        try:
            await self._watch(True)
            await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pipeline.unwatch(self._mailbox)
            tasks = [task for task in (sender, receiver, self._own_task) if task is not None]
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                expected = isinstance(result, (SPYv4Error, WebSocketDisconnect))
                if isinstance(result, Exception) and not expected:
                    raise result

    def _wake(self) -> None:
        """Wake the sender; called from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody to wake
            self._loop.call_soon_threadsafe(self._changed.set)

    def _post(self, message: dict[str, Any]) -> None:
        self._outbox.append(message)
        self._changed.set()

    def _post_error(self, message: str, *, own: bool = False) -> None:
        self._post({"type": "error", "message": message, "own": own})

    async def _send_all(self) -> None:
        await self._send(self._hello)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), STATISTICS_INTERVAL_S)
            self._changed.clear()
            while self._outbox:
                await self._send(self._outbox.popleft())
            await self._send_live()
            if time.monotonic() - self._statistics_at >= STATISTICS_INTERVAL_S:
                self._statistics_at = time.monotonic()
                options = vars(self._pipeline.options)
                figures = statistics(self._pipeline)
                await self._send({"type": "statistics", "settings": options, **figures})

    async def _send_live(self) -> None:
        """Send the reads that wait, unless they begin a frame and too many are under way."""
        frame_id = self._mailbox.frame_id
        if frame_id is None:
            return
        if frame_id != self._frame and len(self._unshown) >= FRAMES_IN_FLIGHT:
            return
        for update in self._mailbox.drain():
            if update.frame.id != self._frame:
                self._frame = update.frame.id
                self._unshown.add(self._frame)
                jpeg = await asyncio.to_thread(getattr, update.frame, "jpeg")
                await self._websocket.send_bytes(struct.pack(">I", self._frame) + jpeg)
            await self._send(live_message(update))

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._websocket.send_text(json.dumps(message, separators=(",", ":")))

    async def _receive_all(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                self._start_own(message["bytes"])
                continue
            try:
                values = json.loads(message["text"])
                await self._obey(values)
            except SPYv4Error as error:
                self._post_error(str(error))
            except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
                self._post_error("a message must be a JSON object with a known type")

    async def _obey(self, message: Mapping[str, Any]) -> None:
        match message.get("type"):
            case "settings":
                current = vars(self._pipeline.options)
                values = {name: message.get(name, value) for name, value in current.items()}
                self._pipeline.options = check_parameters(values, self._max_reads).options
            case "watch":
                await self._watch(bool(message.get("on")))
            case "shown":
                shown = int(message["frame"])
                self._unshown = {frame for frame in self._unshown if frame > shown}
                self._changed.set()
            case other:
                self._post_error(f"unknown message type {str(other)[:40]!r}")

    async def _watch(self, on: bool) -> None:
        self._unshown.clear()
        if on:
            self._pipeline.watch(self._mailbox)
        else:
            self._pipeline.unwatch(self._mailbox)
            self._mailbox.drain()

    def _start_own(self, data: bytes) -> None:
        """Look at a picture that the client sent, unless one is being looked at."""
        if self._own_busy:
            self._post_error("wait for the last read of a picture before sending the next")
            return
        self._own_busy = True
        self._own_task = asyncio.create_task(self._look(data, self._own_frames))
        self._own_task.add_done_callback(self._end_own)
        self._own_frames += 1

    async def _look(self, data: bytes, frame_id: int) -> None:
        started = time.monotonic()
        options = self._pipeline.options

        def deliver(detections: Detections) -> None:
            latency_ms = 1000 * (time.monotonic() - started)
            message = read_message(detections, frame_id, options.reads, latency_ms, own=True)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody to tell
                self._loop.call_soon_threadsafe(self._deliver_own, message)

        image = await asyncio.to_thread(decode_upload, data, self._max_pixels)
        waiting = self._pipeline.submit(image, options, deliver, rasters=True)
        await asyncio.wrap_future(waiting)

    def _deliver_own(self, message: dict[str, Any]) -> None:
        self._own_busy = message["read"] < message["reads"]
        self._post(message)

    def _end_own(self, task: asyncio.Task[None]) -> None:
        """Tell the client where its picture failed."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        self._own_busy = False
        if isinstance(error, SPYv4Error):
            self._post_error(str(error), own=True)
        else:
            logger.error("a picture that was sent failed", exc_info=error)
            self._post_error("the server failed; its log says more", own=True)


def live_message(update: Update) -> dict[str, Any]:
    """The `read` message of a live frame."""
    return read_message(
        update.detections, update.frame.id, update.reads, update.latency_ms, own=False
    )


def read_message(
    detections: Detections, frame_id: int, reads: int, latency_ms: float, *, own: bool
) -> dict[str, Any]:
    """A `read` message as the module's docstring describes it."""
    return {
        "type": "read",
        "frame": frame_id,
        "own": own,
        "read": detections.reads,
        "reads": reads,
        "width": detections.image_size[1],
        "height": detections.image_size[0],
        "detections": boxes_of(detections),
        "firing_rates": [round(float(rate), 5) for rate in detections.firing_rates.values()],
        "rasters": {
            layer: [len(spikes), base64.b64encode(np.packbits(spikes).tobytes()).decode()]
            for layer, spikes in detections.rasters.items()
        },
        "latency_ms": round(latency_ms, 2),
        "timings_ms": {stage: round(ms, 2) for stage, ms in detections.timings_ms.items()},
    }
