"""Streams and a scheduler that a test drives."""

import threading
from concurrent.futures import Future

import numpy as np

from detector_app.stream.viewer import Viewer
from spyv4 import ReadOptions
from spyv4.reading import see
from tests.unit.detector_app.scripted import wait_until

IMAGE = np.full((48, 64, 3), 90, np.uint8)
OPTIONS = ReadOptions(reads=2, score_threshold=0.0)


def watch(hub, source, options=OPTIONS):
    """A viewer, once the look at startup is over."""
    source.give(0)
    wait_until(lambda: source.closed == 1)
    viewer = Viewer(options)
    hub.watch(viewer)
    wait_until(lambda: source.opened == 2)
    return viewer


def level_of(viewer):
    """Brightness of the newest frame that was read to the end."""
    latest = viewer.stream.latest
    if latest is None or not latest.last:
        return None
    return int(latest.frame.image_bgr[0, 0, 0])


def submit(scheduler, image=IMAGE, options=OPTIONS, on_read=lambda look: None, **more):
    """A picture that is looked at: the work, and the future of how many reads it got."""
    answer = Future()

    def end(error):
        if error is None:
            answer.set_result(work.look.number)
        else:
            answer.set_exception(error)

    seen = see([image], scheduler.detector.image_size)
    work = scheduler.submit(seen, options, on_read, end, **more)
    return work, answer


def hold(scheduler, reads=1):
    """Keep the inference thread busy until the event is set: the work, its answer, the event."""
    started, release = threading.Event(), threading.Event()

    def wait(_look):
        started.set()
        release.wait(30)

    work, answer = submit(scheduler, options=ReadOptions(reads, 0.5), on_read=wait)
    assert started.wait(10)
    return work, answer, release
