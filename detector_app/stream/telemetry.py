"""Rates and latencies over the recent past."""

import threading
import time
from collections import deque

import numpy as np

WINDOW_S = 4.0


class RateMeter:
    """Events per second over the last `WINDOW_S` seconds; safe to use from any thread.

    Attributes:
        count: of all events so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._times: deque[float] = deque(maxlen=4096)
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Count one event, now."""
        with self._lock:
            self.count += 1
            self._times.append(time.monotonic())

    @property
    def per_s(self) -> float:
        """Events per second."""
        now = time.monotonic()
        with self._lock:
            while self._times and self._times[0] < now - WINDOW_S:
                self._times.popleft()
            if len(self._times) < 2:
                return float(len(self._times)) / WINDOW_S
            span = max(now - self._times[0], 1e-3)
            return (len(self._times) - 1) / span


class LatencyWindow:
    """The newest latencies, for percentiles; safe to use from any thread."""

    def __init__(self, size: int = 256) -> None:
        self._values: deque[float] = deque(maxlen=size)
        self._lock = threading.Lock()

    def add(self, latency_ms: float) -> None:
        """Note one latency in milliseconds."""
        with self._lock:
            self._values.append(latency_ms)

    @property
    def values(self) -> list[float]:
        """What is remembered."""
        with self._lock:
            return list(self._values)


def percentiles(*windows: LatencyWindow) -> dict[str, float]:
    """`p50` and `p95` of all together in milliseconds; 0 before the first."""
    values = [value for window in windows for value in window.values]
    if not values:
        return {"p50": 0.0, "p95": 0.0}
    p50, p95 = np.percentile(values, (50, 95))
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2)}
