"""Live frames: which are read, by whom they are seen, and what becomes of a failing source."""

import numpy as np
import pytest

from detector_app.errors import PipelineFailedError, PipelineStateError, SourceLostError
from detector_app.exchange import Mailbox
from detector_app.health import statistics
from detector_app.pipeline import Pipeline
from detector_app.states import State
from spyv4 import ReadOptions
from tests.unit.detector_app.running import IMAGE, OPTIONS, hold, level_of, watch
from tests.unit.detector_app.scripted import ScriptedSource, wait_until


def test_nothing_is_read_while_nobody_watches(pipeline, source):
    source.give(1)
    wait_until(lambda: pipeline.capture.counts.consumed == 1)
    assert pipeline.state is State.IDLE
    assert pipeline.latest is None


def test_a_viewer_gets_every_read_of_a_frame(pipeline, source):
    mailbox = watch(pipeline, source)
    assert pipeline.state is State.RUNNING
    source.give(5)
    wait_until(lambda: level_of(pipeline) == 5)
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
    wait_until(lambda: level_of(pipeline) == 13)
    assert {int(update.frame.image_bgr[0, 0, 0]) for update in mailbox.drain()} == {13}
    counts = pipeline.capture.counts
    assert counts.captured == counts.consumed + counts.dropped + counts.pending


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
    source.steps.put(np.zeros((48, 64, 2), np.uint8))
    wait_until(lambda: pipeline.state is State.ERROR)
    assert "(BGR)" in str(pipeline.error)
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


def test_a_mailbox_never_holds_two_frames(pipeline, source):
    mailbox = watch(pipeline, source)
    for level in (1, 2, 3):
        source.give(level)
        wait_until(lambda: level_of(pipeline) == level)  # noqa: B023 - called at once
    assert {int(update.frame.image_bgr[0, 0, 0]) for update in mailbox.drain()} == {3}
    assert mailbox.drain() == []
    assert mailbox.frame_id is None


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
