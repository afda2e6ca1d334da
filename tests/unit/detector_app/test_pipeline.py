import gc
import threading
import weakref

import numpy as np
import pytest

from detector_app.errors import (
    AbandonedError,
    PipelineBusyError,
    PipelineFailedError,
    PipelineStateError,
    SourceLostError,
)
from detector_app.exchange import Mailbox
from detector_app.health import statistics
from detector_app.pipeline import Pipeline
from detector_app.states import LEGAL, State
from spyv4 import ReadOptions
from spyv4.errors import ImageError
from tests.helpers.tiny_model import tiny_config
from tests.unit.detector_app.scripted import ScriptedSource, wait_until

IMAGE = np.full((48, 64, 3), 90, np.uint8)
OPTIONS = ReadOptions(reads=2, score_threshold=0.0)


def test_options_are_those_of_the_weights_but_for_what_is_given():
    config = tiny_config(reads=3, score_threshold=0.17)
    assert ReadOptions().resolved(config) == ReadOptions(3, 0.17, 0.3)
    assert ReadOptions(5, 0.0).resolved(config) == ReadOptions(5, 0.0, 0.3)


@pytest.fixture
def source():
    return ScriptedSource()


@pytest.fixture
def pipeline(detector, source):
    made = Pipeline(detector, source, OPTIONS, queue_size=2)
    made.start()
    yield made
    source.end()
    made.stop()


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


def test_nothing_is_read_while_nobody_watches(pipeline, source):
    source.give(1)
    wait_until(lambda: pipeline.capture.counts.consumed == 1)
    assert pipeline.state is State.IDLE
    assert pipeline.latest is None


def test_a_viewer_gets_every_read_of_a_frame(pipeline, source):
    mailbox = watch(pipeline, source)
    assert pipeline.state is State.RUNNING
    source.give(5)
    wait_until(lambda: level_of(pipeline) is not None)
    updates = mailbox.drain()
    assert [update.detections.reads for update in updates] == [1, 2]
    assert {int(update.frame.image_bgr[0, 0, 0]) for update in updates} == {5}
    assert set(updates[0].detections.rasters) == set(pipeline.detector.layer_names)
    assert updates[-1].latency_ms > 0


def test_the_frame_that_is_read_is_the_newest(pipeline, source):
    mailbox = watch(pipeline, source)
    busy, release = hold(pipeline)
    source.give(11, 12, 13)
    wait_until(lambda: pipeline.capture.counts.pending == 1 and source.steps.empty())
    wait_until(lambda: pipeline.capture.counts.dropped >= 2)
    release.set()
    busy.result(10)
    wait_until(lambda: level_of(pipeline) is not None)
    assert {int(update.frame.image_bgr[0, 0, 0]) for update in mailbox.drain()} == {13}
    counts = pipeline.capture.counts
    assert counts.captured == counts.consumed + counts.dropped + counts.pending


def level_of(pipeline):
    """Brightness of the newest frame that was read to the end."""
    latest = pipeline.latest
    whole = latest is not None and latest.detections.reads == latest.reads
    return int(latest.frame.image_bgr[0, 0, 0]) if whole else None


def hold(pipeline):
    """Keep the inference thread busy until the event is set."""
    started, release = threading.Event(), threading.Event()

    def wait(_detections):
        started.set()
        release.wait(10)

    future = pipeline.submit(IMAGE, ReadOptions(1, 0.5), wait)
    assert started.wait(10)
    return future, release


def test_a_full_queue_refuses_and_loses_nothing(pipeline):
    held, release = hold(pipeline)
    waiting = [pipeline.submit(IMAGE, OPTIONS) for _ in range(2)]
    with pytest.raises(PipelineBusyError, match="2 pictures wait"):
        pipeline.submit(IMAGE, OPTIONS)
    release.set()
    assert held.result(10).reads == 1
    assert [future.result(10).reads for future in waiting] == [2, 2]


def test_sent_pictures_are_read_as_the_detector_reads_them(pipeline, detector):
    partials = []
    result = pipeline.submit(IMAGE, OPTIONS, partials.append, rasters=True).result(10)
    expected = detector.detect(IMAGE, reads=2, score_threshold=0.0, iou_threshold=0.3)
    np.testing.assert_array_equal(result.boxes_xyxy, expected.boxes_xyxy)
    assert [partial.reads for partial in partials] == [1, 2]


def test_an_error_reaches_who_waits_and_nobody_else(pipeline):
    with pytest.raises(ImageError, match="no pixels"):
        pipeline.submit(IMAGE[:0], OPTIONS).result(10)
    assert pipeline.submit(IMAGE, OPTIONS).result(10).reads == 2


def test_a_lost_source_can_be_opened_again(pipeline, source):
    watch(pipeline, source)
    with pytest.raises(PipelineStateError, match="retry is not possible while"):
        pipeline.retry()
    source.fail(SourceLostError("the cable is out"))
    wait_until(lambda: pipeline.state is State.ERROR)
    assert statistics(pipeline)["error"] == "the cable is out"
    assert pipeline.submit(IMAGE, OPTIONS).result(10).reads == 2
    pipeline.retry()
    assert pipeline.state is State.RUNNING
    source.give(7)
    wait_until(lambda: pipeline.latest is not None)


def test_a_silent_source_counts_as_lost(pipeline, source, monkeypatch):
    watch(pipeline, source)
    monkeypatch.setattr("detector_app.pipeline.SILENCE_S", 0.05)
    wait_until(lambda: pipeline.state is State.ERROR)
    assert "delivered no picture" in str(pipeline.error)


def test_a_frame_that_cannot_be_read_is_an_error_of_its_source(pipeline, source):
    watch(pipeline, source)
    source.steps.put(np.zeros((48, 64), np.uint8))
    wait_until(lambda: pipeline.state is State.ERROR)
    assert "BGR uint8" in str(pipeline.error)
    assert pipeline.submit(IMAGE, OPTIONS).result(10).reads == 2
    pipeline.retry()
    source.give(7, 7)
    wait_until(lambda: level_of(pipeline) == 7)


def test_another_source_leaves_no_result_of_the_one_before(pipeline, source):
    mailbox = watch(pipeline, source)
    source.give(5)
    wait_until(lambda: level_of(pipeline) == 5)
    mailbox.drain()
    _, release = hold(pipeline)
    source.give(6)
    wait_until(lambda: pipeline.capture.pending)
    other = ScriptedSource()
    pipeline.select(other)
    assert pipeline.latest is None
    release.set()
    source.give(7)  # wakes the reader, which then lets go
    other.give(8, 8)
    wait_until(lambda: level_of(pipeline) == 8)
    assert {int(update.frame.image_bgr[0, 0, 0]) for update in mailbox.drain()} == {8}
    other.end()


def test_a_broken_detector_is_said_to_everybody(pipeline, source, monkeypatch):
    watch(pipeline, source)
    monkeypatch.setattr(pipeline, "_read_live", lambda _frame: 1 / 0)
    source.give(1)
    wait_until(lambda: pipeline.state is State.ERROR)
    for command in (
        lambda: pipeline.submit(IMAGE, OPTIONS),
        lambda: pipeline.select(None),
        pipeline.retry,
    ):
        with pytest.raises(PipelineFailedError, match="start it again"):
            command()


def test_the_last_viewer_closes_the_source(pipeline, source):
    mailbox = watch(pipeline, source)
    pipeline.unwatch(mailbox)
    pipeline.unwatch(mailbox)
    source.give(1)
    wait_until(lambda: source.closed == 2)
    assert pipeline.state is State.IDLE


def test_stop_is_idempotent_and_refuses_what_waits(detector):
    pipeline = Pipeline(detector, None, OPTIONS)
    assert pipeline.state is State.STOPPED
    pipeline.start()
    held, release = hold(pipeline)
    waiting = pipeline.submit(IMAGE, OPTIONS)
    stopping = threading.Thread(target=pipeline.stop)
    stopping.start()
    with pytest.raises(PipelineStateError, match="shutting down"):
        waiting.result(10)
    release.set()
    stopping.join(10)
    assert held.result(10).reads == 1
    pipeline.stop()
    assert pipeline.state is State.STOPPED
    for command in LEGAL:
        with pytest.raises(PipelineStateError, match=f"{command} is not possible"):
            pipeline.require(command)
    with pytest.raises(PipelineStateError):
        pipeline.submit(IMAGE, OPTIONS)


def test_a_mailbox_never_holds_two_frames(pipeline, source):
    mailbox = watch(pipeline, source)
    for level in (1, 2, 3):
        source.give(level)
        wait_until(lambda: level_of(pipeline) == level)  # noqa: B023 - called at once
    assert {int(update.frame.image_bgr[0, 0, 0]) for update in mailbox.drain()} == {3}
    assert mailbox.drain() == []
    assert mailbox.frame_id is None


def test_a_cancelled_look_ends_before_its_next_read(pipeline):
    reads, answers, begun = [], [], threading.Event()

    def leave(detections):
        begun.wait(10)
        reads.append(detections.reads)
        answers[0].cancel()

    answers.append(pipeline.submit(IMAGE, ReadOptions(200, 0.5), leave))
    begun.set()
    with pytest.raises(AbandonedError):
        answers[0].result(10)
    assert reads == [1]


def test_a_cancelled_picture_leaves_its_place_and_memory(pipeline):
    """One that waited, one that was looked at, one that failed: nobody keeps their pictures."""
    begun, go_on = threading.Event(), threading.Event()

    def hold(_detections):
        begun.set()
        go_on.wait(10)

    def fail(_detections):
        raise ValueError("on purpose")

    images = [IMAGE.copy() for _ in range(3)]
    kept = [weakref.ref(image) for image in images]
    held = pipeline.submit(images[0], OPTIONS, hold)
    assert begun.wait(10)
    waiting = pipeline.submit(images[1], OPTIONS)
    failing = pipeline.submit(images[2], OPTIONS, fail)
    del images
    assert waiting.cancel()
    assert len(pipeline.jobs) == 1
    held.cancel()
    go_on.set()
    with pytest.raises(ValueError, match="on purpose"):
        failing.result(10)
    gc.disable()
    try:
        wait_until(lambda: not any(reference() is not None for reference in kept))
    finally:
        gc.enable()


def test_live_frames_start_anew_or_where_the_last_one_ended(detector):
    """Carried, the second of two equal frames sees what a stream with carried state sees."""
    for carried in (False, True):
        options = ReadOptions(1, 0.0, carry_state=carried)
        source = ScriptedSource()
        running = Pipeline(detector, source, options)
        mailbox = Mailbox()
        running.watch(mailbox)
        running.start()
        try:
            seen = []
            for _ in range(2):
                source.give(90)  # what IMAGE shows
                seen += mailbox.drain(timeout_s=10)
        finally:
            running.stop()
        expected = list(detector.stream([IMAGE] * 2, 1, score_threshold=0.0, carry_state=carried))
        for update, wanted in zip(seen, expected, strict=True):
            np.testing.assert_array_equal(update.detections.scores, wanted.scores)
        assert np.array_equal(*(update.detections.scores for update in seen)) == (not carried)
