"""The WebSocket `/ws`: frames, boxes and rasters of every read.

Server to client, JSON text unless said otherwise:

- `hello`: once, and again where another replica took over (`detector_app.cluster`); `version`,
  `model`, `runtime`, `layers` (shallow to deep), `shown_layers` (the two to show at first),
  `classes` (name and colour), `sources`, `max_reads`, `max_body_bytes`, `settings`, `energy` (that
  of the non-spiking twin, and what an operation is taken to cost).
- binary: one live frame; four bytes with its number (unsigned, big-endian; how many were sent to
  this client before), then a JPEG.
- `read`: the boxes after one read. `frame` (its number; of a picture the client sent: how many it
  sent before), `own` (whether the client sent it), `width`, `height`, `read`, `reads` (how many
  there are, at most where they are "auto"), `last` (whether it is the last of its frame),
  `detections`, `firing_rates` (in the order of `layers`), `rasters` (by layer `[neurons, base64 of
  packed bits]`, most significant bit first), `heat` (where the chosen layer spiked, as `messages`
  has it, or null), `operations` (what all reads so far took), `latency_ms` (from capture to this),
  `timings_ms` (what that is made of; `capture` comes before it and `encode` after), `sent_ms` (from
  capture to this message), and `restarted` (why the state that should have been carried was given
  up before this frame, or null).
- `statistics`: twice a second; `state` (paused, opening, running, ended or lost), `source` and
  `error` of what is watched, rates, latencies, `settings`, and `settings_heard` (how many messages
  of that type are in them, refused ones counted: a client that sent more knows better).
- `error`: `message`, `own` (whether it ends the look at a picture the client sent); the connection
  stays open, but for what is said below.

Client to server:

- `{"type": "settings", "reads": 4, "score_threshold": 0.5, ...}`: for the live frames and the
  pictures of this client, and of no other: parameters of `POST /detect`, and those of `viewing`.
- `{"type": "watch", "on": true, "source": "demo"}`: whether live frames are wanted, and of which
  source; those of the first are at first, and where it is left out those watched before.
- `{"type": "shown", "frame": 7}`: a live frame was drawn. At most two are sent
  ahead of this, so that a slow client skips frames and never falls behind. A number that is none
  (negative, infinite, a fraction, no number) is answered with an `error` and the end of the
  connection, code 1008: frames cannot be paced by it.
- `{"type": "seen", "frame": 7}`: the last read of a live frame was painted, by which
  `latency_ms.page` of the statistics is measured.
- binary: a picture to look at (visitor's camera, upload). The next one only after the last `read`
  or an `error` of `own` has come. The looks at it end with the connection.

Where too many are connected a client gets an `error` alone, and the code 1013. One that takes
nothing of what it is sent for a while is cut off; one that leaves more than `UNSENT` messages
waiting is sent away with the code 1008. Other sites may not connect at all: see `security`.
"""

import asyncio
import contextlib
import json
import logging
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect

from detector_app.http.figures import seen_by
from detector_app.http.intake import Intake
from detector_app.http.messages import own_message, read_message
from detector_app.http.pacing import Pacing
from detector_app.http.viewing import viewing_options, viewing_settings
from detector_app.stream.hub import Hub
from detector_app.stream.telemetry import percentiles
from detector_app.stream.viewer import Viewer
from spyv4 import Detections, ReadOptions
from spyv4.choices import MAX_READS
from spyv4.errors import SPYv4Error

logger = logging.getLogger(__name__)
STATISTICS_INTERVAL_S = 0.5
UNSENT = 2 * MAX_READS
MALFORMED = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013


class LiveConnection:
    """One client of the WebSocket.

    Args:
        websocket: not yet accepted.
        hub: where frames and detections come from.
        intake: what looks at the pictures that the client sends.
        hello: the first message.
        options: how frames and pictures are looked at, until the client says otherwise; resolved.
    """

    def __init__(
        self,
        websocket: WebSocket,
        hub: Hub,
        intake: Intake,
        hello: Mapping[str, Any],
        options: ReadOptions,
    ) -> None:
        self._websocket, self._hub, self._intake = websocket, hub, intake
        self._hello = hello
        self._max_reads: int = hello["max_reads"]
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._viewer = Viewer(options, self._wake)
        self._source = next(iter(hub.feeds))
        self._outbox: deque[dict[str, Any]] = deque()
        self._pacing = Pacing()
        self._encode_ms = 0.0  # of the newest frame
        self._own_frames = 0
        self._settings_heard = 0
        self._own_busy = False
        self._own_task: asyncio.Task[None] | None = None
        self._statistics_at = 0.0
        self._leave_because: str | None = None

    async def run(self) -> None:
        """Serve the client until it goes."""
        await self._websocket.accept()
        sender = asyncio.create_task(self._send_all())
        receiver = asyncio.create_task(self._receive_all())
        try:
            self._watch(True)
            await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.unwatch(self._viewer)
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
        if len(self._outbox) > UNSENT:
            self._leave("too many messages wait to be received")
        self._changed.set()

    def _leave(self, reason: str) -> None:
        """Close the connection after what waits was sent."""
        self._leave_because = reason
        self._changed.set()

    def _post_error(self, message: str, *, own: bool = False) -> None:
        self._post({"type": "error", "message": message, "own": own})

    async def _send_all(self) -> None:
        await self._send(self._hello)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STATISTICS_INTERVAL_S):
                    await self._changed.wait()
            self._changed.clear()
            while self._outbox:
                await self._send(self._outbox.popleft())
            if self._leave_because is not None:
                await self._websocket.close(POLICY_VIOLATION, self._leave_because)
                return
            await self._send_live()
            if time.monotonic() - self._statistics_at >= STATISTICS_INTERVAL_S:
                self._statistics_at = time.monotonic()
                figures = seen_by(self._viewer, self._hub, self._intake)
                figures["latency_ms"]["page"] = percentiles(self._pacing.latency)
                figures["settings"] = viewing_settings(self._viewer.options)
                figures["settings_heard"] = self._settings_heard
                await self._send({"type": "statistics", **figures})

    async def _send_live(self) -> None:
        """Send the reads that wait, unless they begin a frame and too many are under way."""
        frame = self._viewer.frame
        if frame is None or not self._pacing.may_send(frame):
            return
        for update in self._viewer.drain():
            if self._pacing.is_new(update.frame):
                began = time.monotonic()
                jpeg = await asyncio.to_thread(getattr, update.frame, "jpeg")
                self._encode_ms = 1000 * (time.monotonic() - began)
                number = self._pacing.send(update.frame)
                await self._websocket.send_bytes(struct.pack(">I", number) + jpeg)
            await self._send(read_message(update, self._pacing.number, self._encode_ms))

    async def _send(self, message: Mapping[str, Any]) -> None:
        await self._websocket.send_text(json.dumps(message, separators=(",", ":")))

    async def _receive_all(self) -> None:
        while await self._handle(await self._websocket.receive()):
            pass

    async def _handle(self, message: MutableMapping[str, Any]) -> bool:
        """Do what a message says; False where it is the last."""
        if message["type"] == "websocket.disconnect":
            return False
        release: Callable[[], None] = message.get("release", _nothing)
        if self._leave_because is not None:
            release()
        elif message.get("bytes") is not None:
            self._start_own(message["bytes"], release)
        else:
            try:
                await self._obey(json.loads(message["text"]))
            except SPYv4Error as error:
                self._post_error(str(error))
            except MALFORMED:
                self._post_error("a message must be a JSON object with a known type")
            finally:
                release()
        return True

    async def _obey(self, message: Mapping[str, Any]) -> None:
        match message.get("type"):
            case "settings":
                self._settings_heard += 1
                options = self._viewer.options
                chosen = viewing_options(message, options, self._hub.detector, self._max_reads)
                self._hub.change(self._viewer, chosen)
            case "watch":
                source = message.get("source")
                self._source = self._hub.feed(self._source if source is None else source).name
                self._watch(bool(message.get("on")))
            case "shown":
                self._note_shown(message["frame"])
            case "seen":
                self._pacing.note_seen(message["frame"])
            case other:
                self._post_error(f"unknown message type {str(other)[:40]!r}")

    def _note_shown(self, frame: Any) -> None:
        """A live frame was drawn; without a sound number its client cannot be paced."""
        reason = self._pacing.note_shown(frame)
        if reason is not None:
            self._post_error(f"{reason}, not {str(frame)[:40]!r}")
            self._leave(reason)
        self._changed.set()

    def _watch(self, on: bool) -> None:
        self._pacing.restart()
        if on:
            self._hub.watch(self._viewer, self._source)
        else:
            self._hub.unwatch(self._viewer)

    def _start_own(self, data: bytes, release: Callable[[], None]) -> None:
        """Look at a picture that the client sent, unless one is being looked at."""
        if self._own_busy:
            release()
            self._post_error("wait for the last read of a picture before sending the next")
            return
        self._own_busy = True
        self._own_task = asyncio.create_task(self._look(data, release, self._own_frames))
        self._own_task.add_done_callback(self._end_own)
        self._own_task.add_done_callback(lambda _: release())
        self._own_frames += 1

    async def _look(self, data: bytes, release: Callable[[], None], frame_id: int) -> None:
        started = time.monotonic()
        options = replace(self._viewer.options, carry_state=False)
        most = options.most_reads(self._intake.model)

        def deliver(detections: Detections, last: bool) -> None:
            latency_ms = 1000 * (time.monotonic() - started)
            message = own_message(detections, frame_id, most, latency_ms, last=last)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody to tell
                self._loop.call_soon_threadsafe(self._deliver_own, message)

        look = self._intake.look(data, options, deliver, release=release, rasters=True)
        del data
        await look

    def _deliver_own(self, message: dict[str, Any]) -> None:
        self._own_busy = not message["last"]
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


def _nothing() -> None:
    """What is called to let go of a small message."""


async def turn_away(websocket: WebSocket, reason: str) -> None:
    """Tell a client that there is no place for it."""
    with contextlib.suppress(WebSocketDisconnect):
        await websocket.accept()
        await websocket.send_text(json.dumps({"type": "error", "message": reason, "own": False}))
        await websocket.close(TRY_AGAIN_LATER, reason)
