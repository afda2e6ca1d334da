"""What bounds a client: deadlines, places, and budgets."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from detector_app.errors import ServerBusyError


@dataclass(frozen=True)
class Deadlines:
    """How long the server waits for a client.

    Attributes:
        head_s: from the connection or the last answer to the end of the next request's head.
        silence_s: between two pieces of a picture.
        grace_s: how long a picture may come more slowly than `bytes_per_s`.
        bytes_per_s: what a picture must reach on average afterwards; ten megabytes over a slow
            phone connection take about ten minutes.
        send_s: how long a client may take nothing of what it is sent.
        answer_s: how long a request may wait for its answer once its pictures came.
    """

    head_s: float = 10.0
    silence_s: float = 10.0
    grace_s: float = 20.0
    bytes_per_s: float = 8_000.0
    send_s: float = 10.0
    answer_s: float = 120.0


class Progress:
    """Whether a picture comes as fast as the deadlines ask."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._started = self._latest = time.monotonic()
        self._received = 0

    def add(self, count: int) -> None:
        """Note that `count` bytes came."""
        self._latest = time.monotonic()
        self._received += count

    @property
    def remaining_s(self) -> float:
        """Seconds until it is late unless more comes; negative once it is."""
        limits = self._deadlines
        due = self._started + limits.grace_s + self._received / limits.bytes_per_s
        return min(due, self._latest + limits.silence_s) - time.monotonic()


class Places:
    """A number of places, and what is said where all are taken."""

    def __init__(self, size: int, full: str) -> None:
        self._size, self._full, self._taken = size, full, 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            ServerBusyError: where there is none.
        """
        if self._taken >= self._size:
            raise ServerBusyError(self._full)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class Lease:
    """A part of a budget; given back once, however often `release` is called."""

    def __init__(self, budget: "Budget", count: int) -> None:
        self._budget, self._count = budget, count

    def release(self) -> None:
        """Give it back; from the event loop alone."""
        count, self._count = self._count, 0
        self._budget.give_back(count)


class Budget:
    """Something of which there is so much; whoever asks for a part waits, in turn.

    Args:
        size: how much there is.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def lease(self, count: int) -> Lease:
        """Wait for `count`, at most for all there is."""
        count = min(count, self._size)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._grant()  # those behind it may go ahead
            else:
                self.give_back(count)
            raise
        return Lease(self, count)

    def give_back(self, count: int) -> None:
        """End a lease."""
        self._free += count
        self._grant()

    def _grant(self) -> None:
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= self._free):
            count, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= count
                turn.set_result(None)
