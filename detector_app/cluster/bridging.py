"""A WebSocket handed on to one replica for as long as that lives, and then to another.

What is new to a client then (the rest is described in `detector_app.http.live`): an `error` that
says so, another `hello`, frame numbers that begin at 0, and the `restarted` of the first live read.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import Receive, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from detector_app.cluster.leases import Leases, LostReplicaError, NoReplicaError

TRY_AGAIN_LATER = 1013
LOST = frozenset({1001, 1006, 1011, 1012})
"""Codes with which a connection ends where its replica ends; others are meant for the client."""
NOTICE = "the replica that looked at this stream is gone; it starts anew on another"
OWN_NOTICE = "the replica that looked at this picture is gone; send it again"
WAIT_S, WAITS = 1.0, 30
"""How often and how long another replica is waited for."""


class Bridge:
    """One client of the WebSocket.

    Args:
        leases: chooses replicas.
        headers: for them.
        receive: of the client.
        send: to the client.

    Attributes:
        restarts: how often the stream went to another replica.
    """

    def __init__(
        self,
        leases: Leases,
        headers: Sequence[tuple[bytes, bytes]],
        receive: Receive,
        send: Send,
    ) -> None:
        self.restarts = 0
        self._leases, self._receive, self._send = leases, receive, send
        self._headers = {name.decode(): value.decode() for name, value in headers}
        self._settings: dict[str, Any] = {}  # all that the client set, which the next is told
        self._watch: str | None = None
        self._own = False  # whether a picture of the client is looked at
        self._restarted = False  # whether the next live read is the first of a new replica
        self._upstream: ClientConnection | None = None

    async def run(self) -> None:
        """Hand on all messages until the client leaves or is sent away."""
        assert (await self._receive())["type"] == "websocket.connect"  # noqa: S101 - ASGI says so
        await self._send({"type": "websocket.accept"})
        reading = asyncio.ensure_future(self._read_client())
        writing = asyncio.ensure_future(self._write_client())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, writing):
                if task.done():
                    task.result()
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _read_client(self) -> None:
        """From the client to whichever replica it is now; what is said while there is none goes."""
        while (message := await self._receive())["type"] != "websocket.disconnect":
            data = message.get("bytes")
            if data is None:
                data = message.get("text") or ""
                self._remember(data)
            else:
                self._own = True
            if self._upstream is not None:
                with contextlib.suppress(ConnectionClosed):
                    await self._upstream.send(data)

    async def _write_client(self) -> None:
        """From replica after replica to the client."""
        waits = 0
        while waits < WAITS:
            try:
                async with self._leases.lease() as address:
                    code, reason = await self._follow(address)
                if code not in LOST:
                    await self._close(code, reason)
                    return
                waits = 0
            except (LostReplicaError, NoReplicaError, OSError, InvalidHandshake):
                waits += 1
                await asyncio.sleep(WAIT_S)
        await self._say_error(str(NoReplicaError()), own=False)
        await self._close(TRY_AGAIN_LATER, "no replica")

    async def _follow(self, address: str) -> tuple[int, str]:
        """Hand on what one replica says, to its end: the code and reason of that."""
        url = f"ws://{address}/ws"
        async with connect(
            url, additional_headers=self._headers, max_size=None, compression=None, proxy=None
        ) as upstream:
            await self._greet(upstream)
            self._upstream = upstream
            try:
                async for data in upstream:
                    await self._hand_on(data)
            except ConnectionClosed:
                pass
            finally:
                self._upstream = None
        self.restarts += 1
        closed = upstream.protocol
        return closed.close_code or 1006, closed.close_reason or ""

    async def _greet(self, upstream: ClientConnection) -> None:
        """Tell a replica that takes over what the client wants, and the client of it."""
        if not self.restarts:
            return
        self._restarted = True
        await self._say_error(NOTICE, own=False)
        if self._own:
            self._own = False
            await self._say_error(OWN_NOTICE, own=True)
        if self._settings:
            await upstream.send(json.dumps(self._settings))
        if self._watch is not None:
            await upstream.send(self._watch)

    async def _hand_on(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            await self._send({"type": "websocket.send", "bytes": data})
            return
        if self._restarted or self._own:
            data = self._noted(data)
        await self._send({"type": "websocket.send", "text": data})

    def _noted(self, text: str) -> str:
        """A message, with `restarted` where it is the first live read of a new replica."""
        message = json.loads(text)
        if message.get("own") and (message["type"] == "error" or message.get("last")):
            self._own = False
        if self._restarted and message["type"] == "read" and not message["own"]:
            self._restarted = False
            return json.dumps(message | {"restarted": NOTICE}, separators=(",", ":"))
        return text

    def _remember(self, text: str) -> None:
        """Keep what another replica would have to be told."""
        if '"settings"' not in text and '"watch"' not in text:
            return  # of many: which frames were drawn
        try:
            message = json.loads(text)
        except ValueError:
            return  # the replica says what is wrong
        if isinstance(message, Mapping) and message.get("type") == "settings":
            self._settings |= message
        elif isinstance(message, Mapping) and message.get("type") == "watch":
            self._watch = text

    async def _say_error(self, message: str, *, own: bool) -> None:
        text = json.dumps({"type": "error", "message": message, "own": own})
        await self._send({"type": "websocket.send", "text": text})

    async def _close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})
