"""A pipeline that a test drives."""

import threading

import numpy as np

from detector_app.exchange import Mailbox
from spyv4 import ReadOptions
from tests.unit.detector_app.scripted import wait_until

IMAGE = np.full((48, 64, 3), 90, np.uint8)
OPTIONS = ReadOptions(reads=2, score_threshold=0.0)


def watch(pipeline, source):
    """Get past the look at startup, then watch."""
    source.give(0)
    wait_until(lambda: pipeline.capture.counts.consumed == 1)
    source.give(0)  # wakes the reader, which then lets go
    wait_until(lambda: source.closed == 1)
    mailbox = Mailbox()
    pipeline.watch(mailbox)
    wait_until(lambda: source.opened == 2)
    return mailbox


def hold(pipeline, image=IMAGE, reads=1):
    """Keep the inference thread busy until the event is set: the answer, and the event."""
    started, release = threading.Event(), threading.Event()

    def wait(_detections):
        started.set()
        release.wait(30)

    answer = pipeline.submit(image, ReadOptions(reads, 0.5), wait)
    assert started.wait(10)
    return answer, release


def level_of(pipeline):
    """Brightness of the newest frame that was read to the end."""
    latest = pipeline.latest
    if latest is None or latest.detections.reads < latest.reads:
        return None
    return int(latest.frame.image_bgr[0, 0, 0])
