"""What uvicorn does not bound by itself: who may stay connected, and for how long.

A connection that owes a request is closed after a while, and before that where too many do; one
that takes nothing of what it is sent is cut off; and few clients at a time may be amid a large
message over the WebSocket, while the others wait.
"""

import asyncio
import time
from typing import ClassVar

from detector_app.http.limits import Budget, Deadlines

PENDING = 512
"""How many connections may owe a request."""
LARGE_MESSAGES = 4
"""How many large messages may be on their way over the WebSocket, or wait to be decoded."""


class Guard:
    """Knows all connections, and closes those that have to go.

    Args:
        deadlines: how long clients are waited for.
        open_files: how many the process may have.
    """

    def __init__(self, deadlines: Deadlines, open_files: int) -> None:
        self.deadlines = deadlines
        self.large_messages = Budget(LARGE_MESSAGES)
        self._max_connections = max(1, open_files * 3 // 4)
        self._max_pending = max(1, min(PENDING, open_files // 4))
        self._connections: set[Guarded] = set()
        self._pending: dict[Guarded, float] = {}  # since when, oldest first
        self._sweeping: asyncio.TimerHandle | None = None

    def enter(self, connection: "Guarded") -> None:
        """Know a new connection; where there are too many, another that owes a request goes."""
        if len(self._connections) >= self._max_connections:
            oldest = next(iter(self._pending), None)
            self._cut(connection if oldest is None else oldest)
        self._connections.add(connection)
        if self._sweeping is None:
            self._sweep()

    def leave(self, connection: "Guarded") -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        self._pending.pop(connection, None)

    def expect(self, connection: "Guarded") -> None:
        """Note that a connection owes a request from now on."""
        self._pending.pop(connection, None)
        self._pending[connection] = time.monotonic()
        if len(self._pending) > self._max_pending:
            self._cut(next(iter(self._pending)))

    def heard(self, connection: "Guarded") -> None:
        """Note that the head of a request came."""
        self._pending.pop(connection, None)

    def owes(self, connection: "Guarded") -> bool:
        """Whether a connection owes a request."""
        return connection in self._pending

    def _cut(self, connection: "Guarded") -> None:
        self.leave(connection)
        connection.transport.abort()

    def _sweep(self) -> None:
        """Close what is late, now and again, until nobody is connected."""
        self._sweeping = None
        if not self._connections:
            return
        now = time.monotonic()
        for connection, since in list(self._pending.items()):
            if now - since > self.deadlines.head_s:
                self._cut(connection)
        for open_one in list(self._connections):
            if open_one.is_late(now):
                self._cut(open_one)
        interval_s = min(self.deadlines.head_s, self.deadlines.send_s) / 10
        self._sweeping = asyncio.get_running_loop().call_later(interval_s, self._sweep)


class Guarded(asyncio.Protocol):
    """A connection that a guard knows; goes before one of uvicorn's protocols."""

    guard: ClassVar[Guard]
    transport: asyncio.Transport
    _stalled_at: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        super().connection_made(transport)
        self.guard.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.guard.leave(self)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Called by uvicorn."""
        super().shutdown()  # type: ignore[misc]
        if self._stalled_at is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Called by asyncio where more waits to be sent than fits."""
        self._stalled_at = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Called by asyncio once the client has taken most of it."""
        self._stalled_at = None
        super().resume_writing()

    def is_late(self, now: float) -> bool:
        """Whether the client has taken nothing for too long."""
        if self._stalled_at is None and self.transport.is_closing():
            self._stalled_at = now  # it closes once the client has taken the rest
        return self._stalled_at is not None and now - self._stalled_at > self.guard.deadlines.send_s
