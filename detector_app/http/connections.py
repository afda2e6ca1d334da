"""Connections below the app: uvicorn's, which a `Guard` watches over."""
# ruff: noqa: D102 - uvicorn and asyncio say what is overridden here

import asyncio
import contextlib
import json
import socket
from collections import deque
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from detector_app.http.guard import Guard, Guarded
from detector_app.http.intake import Intake
from detector_app.http.limits import Lease, Progress
from detector_app.settings import Settings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

OPEN_FILES = 4096
"""How many open files, and therefore connections, are asked of the system."""
MAX_HEAD = 64 * 1024
"""Largest head of a request in bytes."""
MAX_URL = 16 * 1024
"""Longest address in it."""
GRACE_S = 10.0
"""How long requests may go on when the server ends, of which the last `ANSWER_S` are for saying no
to what still waits."""
ANSWER_S = 2.0
SMALL_MESSAGE = 512 * 1024
"""Larger messages over the WebSocket come a few at a time; frames of a camera are small."""


class GuardedHttp(Guarded, HttpToolsProtocol):
    """A connection before or between requests, or amid one."""

    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not transport.is_closing():
            self.guard.expect(self)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD and self.guard.owes(self):
            long = len(self.url or b"") > MAX_URL
            self._refuse(
                HTTPStatus.REQUEST_URI_TOO_LONG
                if long
                else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            )

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer a request before it is whole, and close."""
        body = json.dumps({"detail": f"{status.description or status.phrase}".lower()})
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*lines, "", body]).encode())
        self.transport.close()

    def on_headers_complete(self) -> None:
        self.guard.heard(self)
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self.guard.expect(self)

    def handle_websocket_upgrade(self) -> None:
        self.guard.leave(self)
        super().handle_websocket_upgrade()


class GuardedWebSocket(Guarded, WebSocketsSansIOProtocol):
    """A connection to the WebSocket.

    A message that the app receives carries `release`, to be called once its data is let go of.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = self.guard.deadlines.send_s
        self._received = 0  # bytes of the message that is coming
        self._asking: asyncio.Task[None] | None = None
        self._lease: Lease | None = None
        self._progress: Progress | None = None
        self._leases: deque[Lease | None] = deque()  # of the messages that wait for the app

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._asking is not None:
            self._asking.cancel()
        for lease in (self._lease, *self._leases):
            if lease is not None:
                lease.release()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._progress is not None:
            self._progress.add(len(data))
        super().data_received(data)
        large = self._received > SMALL_MESSAGE
        if large and self._lease is None and not self.transport.is_closing():
            self.transport.pause_reading()
            self._asking = self.loop.create_task(self._ask())

    async def _ask(self) -> None:
        """Read on once few others are amid a large message."""
        self._lease = await self.guard.large_messages.lease(1)
        self._progress = Progress(self.guard.deadlines)
        self._asking = None
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def send_receive_event_to_app(self) -> None:
        self._received = 0
        if not self.close_sent:
            self._leases.append(self._lease)
            self._lease = self._progress = None
        super().send_receive_event_to_app()

    def handle_bytes(self, event: Frame) -> None:
        super().handle_bytes(event)
        event.data = b""  # the parser keeps the frame until the next one comes

    def handle_text(self, event: Frame) -> None:
        super().handle_text(event)
        event.data = b""

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        event.data = b""

    async def receive(self) -> Any:
        message: dict[str, Any] = dict(await super().receive())
        if message["type"] == "websocket.receive" and self._leases:
            lease = self._leases.popleft()
            if lease is not None:
                message["release"] = lease.release
        return message

    async def send(self, message: Any) -> None:
        try:
            await super().send(message)
        except RuntimeError:
            if self.close_sent:  # by uvicorn, which the app cannot know of yet
                raise ClientDisconnected from None
            raise

    def keepalive_timeout(self) -> None:
        if self._asking is None:
            super().keepalive_timeout()
        else:  # the answer is not read because we do not read
            self.pending_ping_payload = None
            self.schedule_ping()

    def is_late(self, now: float) -> bool:
        late_sender = self._progress is not None and self._progress.remaining_s < 0
        return late_sender or super().is_late(now)


class Server(uvicorn.Server):
    """A server that ends in peace: what waits is looked at while there is time, then refused."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        intake: Intake = self.config.app.state.intake  # type: ignore[union-attr]
        intake.close()
        loop = asyncio.get_running_loop()
        refusal = loop.call_later(GRACE_S - ANSWER_S, intake.refuse)
        try:
            await super().shutdown(sockets)
        finally:
            refusal.cancel()


def raise_open_files() -> int:
    """Let the process have more open files where it may have few; returns how many it may."""
    if resource is None:
        return OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = OPEN_FILES if hard == unlimited else min(OPEN_FILES, hard)
    if soft != unlimited and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return OPEN_FILES if soft == unlimited else soft


def server_config(app: FastAPI, open_files: int = 1024) -> uvicorn.Config:
    """How uvicorn serves an app that `create_app` made.

    Args:
        app: the app.
        open_files: how many the process may have.
    """
    settings: Settings = app.state.settings
    shared = Guard(app.state.deadlines, open_files)

    class Http(GuardedHttp):
        guard = shared

    class WebSocket(GuardedWebSocket):
        guard = shared

    return uvicorn.Config(
        app,
        http=Http,
        ws=WebSocket,
        log_config=None,  # so that its lines go where all others go
        log_level="warning",
        ws_max_size=settings.max_body_bytes,
        ws_per_message_deflate=False,  # most of what is sent is JPEG
        timeout_graceful_shutdown=round(GRACE_S),
    )
