"""Frames: which are looked at, by whom they are seen, and what becomes of a failing source."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from detector_app.errors import SourceLostError, StreamStateError
from detector_app.stream import stream as streams
from detector_app.stream.hub import Hub
from detector_app.stream.states import Policy, State
from detector_app.stream.viewer import Viewer
from spyv4 import ReadOptions
from spyv4.errors import ArgumentError
from tests.unit.detector_app.running import IMAGE, OPTIONS, hold, level_of, submit, watch
from tests.unit.detector_app.scripted import ScriptedSource, wait_until


def levels(updates):
    return {int(update.frame.image_bgr[0, 0, 0]) for update in updates}


def test_nothing_is_read_while_nobody_watches(hub, source):
    source.give(1)
    wait_until(lambda: source.closed == 1)
    assert hub.feed().state is State.PAUSED
    assert hub.streams == ()
    assert hub.counts.captured == 0


def test_a_viewer_gets_every_read_of_a_frame(hub, source, detector):
    viewer = watch(hub, source)
    source.give(5)
    wait_until(lambda: level_of(viewer) == 5)
    assert viewer.stream.state is State.RUNNING
    updates = viewer.drain()
    assert [update.detections.reads for update in updates] == [1, 2]
    assert [update.last for update in updates] == [False, True]
    assert levels(updates) == {5}
    assert set(updates[0].detections.rasters) == set(detector.layer_names)
    assert updates[-1].latency_ms > 0


def test_the_frame_that_is_read_is_the_newest(hub, source):
    viewer = watch(hub, source)
    _, busy, release = hold(hub.scheduler)
    source.give(10)
    wait_until(lambda: hub.counts.consumed == 1)
    source.give(11, 12, 13)
    wait_until(lambda: hub.counts.dropped == 2 and hub.counts.pending == 1)
    release.set()
    busy.result(10)
    wait_until(lambda: level_of(viewer) == 13)
    assert levels(viewer.drain()) == {13}
    counts = hub.counts
    assert (counts.captured, counts.consumed, counts.dropped, counts.pending) == (4, 2, 2, 0)


def test_a_lost_source_can_be_opened_again(hub, source):
    viewer = watch(hub, source)
    with pytest.raises(StreamStateError, match="retry is not possible while"):
        hub.retry()
    source.fail(SourceLostError("the cable is out"))
    wait_until(lambda: viewer.stream.state is State.LOST)
    assert submit(hub.scheduler)[1].result(10) == 2
    hub.retry()
    source.give(7)
    wait_until(lambda: level_of(viewer) == 7)


def test_each_viewer_has_options_of_its_own(hub, source):
    """Thresholds share the reads, and other numbers of reads get a stream of their own."""
    few = watch(hub, source)
    picky, many = Viewer(ReadOptions(2, 1.0)), Viewer(ReadOptions(5, 0.0))
    hub.watch(picky)
    hub.watch(many)
    assert few.stream is picky.stream is not many.stream
    source.give(5)
    for viewer in (few, picky, many):
        wait_until(lambda: level_of(viewer) == 5)  # noqa: B023 - called at once
    seen = [viewer.drain() for viewer in (few, picky, many)]
    assert [len(updates) for updates in seen] == [2, 2, 5]
    assert len(seen[0][-1].detections) > 0 == len(seen[1][-1].detections)
    hub.change(few, ReadOptions(3, 0.0))
    assert picky.stream.viewers == many.stream.viewers == few.stream.viewers == 1
    source.give(6)
    for viewer in (few, picky, many):
        wait_until(lambda: level_of(viewer) == 6)  # noqa: B023 - called at once
    assert [len(viewer.drain()) for viewer in (few, picky, many)] == [3, 2, 5]
    assert source.opened == 2


def test_another_source_leaves_no_result_of_the_one_before(detector, source):
    other = ScriptedSource()
    other.name = "other"
    hub = Hub(detector, [source, other])
    hub.start()
    viewer = watch(hub, source)
    source.give(5)
    wait_until(lambda: level_of(viewer) == 5)
    viewer.drain()
    _, _, release = hold(hub.scheduler)
    source.give(6)
    wait_until(lambda: viewer.stream.counts.consumed == 2)
    hub.watch(viewer, "other")
    release.set()
    source.give(7)  # wakes the reader, which then lets go
    other.give(8, 8)
    wait_until(lambda: level_of(viewer) == 8)
    assert levels(viewer.drain()) == {8}
    with pytest.raises(ArgumentError, match="script, other"):
        hub.watch(viewer, "third")
    other.end()
    hub.stop()


def test_the_last_viewer_closes_the_source(hub, source):
    viewer = watch(hub, source)
    hub.unwatch(viewer)
    hub.unwatch(viewer)
    source.give(1)
    wait_until(lambda: source.closed == 2)
    assert hub.streams == ()


def test_a_viewer_never_holds_two_frames(hub, source):
    viewer = watch(hub, source)
    for level in (1, 2, 3):
        source.give(level)
        wait_until(lambda: level_of(viewer) == level)  # noqa: B023 - called at once
    assert levels(viewer.drain()) == {3}
    assert viewer.drain() == []
    assert viewer.frame is None


def test_of_a_stream_of_every_frame_none_is_lost(detector, source):
    """Neither where they come faster than they are read, nor than they are seen."""
    hub = Hub(detector, [source], Policy.EVERY)
    hub.scheduler.start()
    viewer = Viewer(OPTIONS)
    hub.watch(viewer)
    count = streams.UNSEEN + 6
    source.give(*range(count))
    source.end()
    wait_until(lambda: viewer.waiting == streams.UNSEEN)
    time.sleep(0.1)
    assert viewer.waiting == streams.UNSEEN
    updates = [update for some in hub.follow(viewer) for update in some]
    assert [int(update.frame.image_bgr[0, 0, 0]) for update in updates] == list(range(count))
    assert all(update.last for update in updates)
    assert hub.counts.dropped == 0
    hub.stop()


def test_a_feed_that_waits_for_room_is_let_go(detector, source):
    hub = Hub(detector, [source], Policy.EVERY)
    hub.watch(Viewer(OPTIONS))
    source.give(1, 2, 3)  # nothing is looked at: the scheduler was not started
    wait_until(lambda: hub.counts.captured == 2)
    source.end()
    stopping = threading.Thread(target=hub.stop)
    stopping.start()
    stopping.join(4)
    assert not stopping.is_alive()
    wait_until(lambda: source.closed == 1)


def test_frames_start_anew_or_where_the_last_one_ended(detector):
    """Carried, the second of two equal frames sees what a stream with carried state sees."""
    for carried in (False, True):
        options = ReadOptions(1, 0.0, carry_state=carried)
        source = ScriptedSource()
        hub = Hub(detector, [source])
        hub.scheduler.start()
        viewer = Viewer(options)
        hub.watch(viewer)
        seen = []
        for _ in range(2):
            source.give(90)  # what IMAGE shows
            seen += viewer.drain(timeout_s=10)
        source.end()
        hub.stop()
        expected = list(detector.stream([IMAGE] * 2, 1, score_threshold=0.0, carry_state=carried))
        for update, wanted in zip(seen, expected, strict=True):
            np.testing.assert_array_equal(update.detections.scores, wanted.scores)
        assert np.array_equal(*(update.detections.scores for update in seen)) == (not carried)


def test_carried_state_is_given_up_where_it_says_nothing(hub, source, detector, monkeypatch):
    viewer = watch(hub, source, ReadOptions(1, 0.0, carry_state=True))
    found = []

    def see(image):
        source.steps.put(image)
        (update,) = viewer.drain(timeout_s=10)
        found.append(update.detections.scores)
        return update.restarted

    assert see(IMAGE) is None
    assert see(IMAGE) is None
    assert see(np.full((48, 80, 3), 90, np.uint8)) == "the size of the frames changed"
    assert see(IMAGE) == "the size of the frames changed"
    source.fail(SourceLostError("the cable is out"))
    wait_until(lambda: viewer.stream.state is State.LOST)
    hub.retry()
    assert see(IMAGE) == "the source was opened again"
    assert see(IMAGE) is None
    monkeypatch.setattr(streams, "GAP_S", 0.0)
    assert see(IMAGE) == "no frame came for 0 seconds"
    fresh = [index for index, scores in enumerate(found) if np.array_equal(scores, found[0])]
    assert fresh == [0, 2, 3, 4, 6]


def test_what_one_stream_cannot_show_fails_that_stream_alone(hub, source, monkeypatch, caplog):
    viewer = watch(hub, source)
    monkeypatch.setattr(viewer, "put", lambda *_: 1 / 0)
    source.give(1)
    wait_until(lambda: viewer.stream.state is State.LOST)
    assert "the log says more" in str(viewer.stream.feed.error)
    assert "ZeroDivisionError" in caplog.text
    assert submit(hub.scheduler)[1].result(10) == 2


def test_auto_says_which_read_is_the_last(hub, source):
    viewer = watch(hub, source, ReadOptions("auto", 1.0, max_reads=6))
    source.give(5)
    wait_until(lambda: level_of(viewer) == 5)
    updates = viewer.drain()
    assert [update.detections.reads for update in updates] == [1, 2]
    assert [update.last for update in updates] == [False, True]
    assert {update.reads for update in updates} == {6}


def test_auto_is_shared_by_those_who_stop_alike(hub, source):
    options = ReadOptions("auto", 1.0, max_reads=6)
    first = watch(hub, source, options)
    others = [
        Viewer(options),
        Viewer(replace(options, score_threshold=0.5)),
        Viewer(replace(options, agree_iou=0.1)),
    ]
    for viewer in others:
        hub.watch(viewer)
    assert [viewer.stream is first.stream for viewer in others] == [True, False, False]
    assert len(hub.streams) == 3


def test_of_a_clip_that_is_looked_at_auto_every_frame_comes_once(detector, source):
    hub = Hub(detector, [source], Policy.EVERY)
    hub.start()
    viewer = watch(hub, source, ReadOptions("auto", 1.0))
    source.give(1, 2, 3)
    source.end()
    updates = [update for updates in hub.follow(viewer) for update in updates]
    assert [update.detections.reads for update in updates] == [2, 2, 2]
    assert levels(updates) == {1, 2, 3}
    hub.stop()
