"""A line that says how far a command is, where somebody looks."""

import time
from typing import TextIO

EVERY_S = 0.2
CLEAR = "\r\x1b[K"


class Progress:
    """How many of something are done, how fast, and how long the rest takes.

    Args:
        stream: a terminal that it is written to; anything else gets nothing.
        name: of what is looked at.
        total: how many there are; 0 where nobody knows.
        unit: what they are, in the plural.
    """

    def __init__(self, stream: TextIO, name: str, total: int, unit: str) -> None:
        self._stream, self._name, self._total, self._unit = stream, name, total, unit
        self._shows = stream.isatty()
        self._started = time.perf_counter()
        self._shown = self._started

    def show(self, done: int) -> None:
        """Say that so many are done, a few times a second."""
        now = time.perf_counter()
        if not self._shows or now - self._shown < EVERY_S:
            return
        self._shown = now
        self._stream.write(CLEAR + self.line(done, now - self._started))
        self._stream.flush()

    def line(self, done: int, elapsed_s: float) -> str:
        """The line after `done` in `elapsed_s` seconds."""
        per_s = done / max(elapsed_s, 1e-9)
        of_total = f"/{self._total}" if self._total else ""
        text = f"{self._name}: {done}{of_total} {self._unit}, {per_s:.1f} a second"
        if self._total >= done > 0:
            minutes, seconds = divmod(round((self._total - done) / per_s), 60)
            text += f", {minutes}:{seconds:02d} left"
        return text

    def clear(self) -> None:
        """Make room for another line."""
        if self._shows:
            self._stream.write(CLEAR)
            self._stream.flush()
