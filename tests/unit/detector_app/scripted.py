"""A source that a test steps by hand."""

import queue
import time

import numpy as np


class ScriptedSource:
    name = "script"
    frame_rate = None
    may_come_back = False

    def __init__(self):
        self.steps = queue.SimpleQueue()
        self.opened = self.closed = 0

    def open(self):
        self.opened += 1

    def read(self):
        step = self.steps.get(timeout=10)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self):
        self.closed += 1

    def give(self, *levels):
        for level in levels:
            self.steps.put(np.full((48, 64, 3), level, np.uint8))

    def end(self):
        self.steps.put(None)

    def fail(self, error):
        self.steps.put(error)


def wait_until(condition, timeout_s=10.0):
    """Fail unless `condition()` holds before the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about in time"
        time.sleep(0.005)
