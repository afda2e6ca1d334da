import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector_app.capture import Capture
from detector_app.errors import SourceLostError
from tests.unit.detector_app.scripted import ScriptedSource, wait_until


@pytest.fixture
def capture():
    made = Capture()
    made.start()
    yield made
    made.stop()


def test_the_newest_frame_replaces_the_older(capture):
    source = ScriptedSource()
    capture.select(source)
    source.give(1, 2, 3)
    wait_until(lambda: capture.counts.captured == 3)
    frame = capture.take()
    assert frame.id == 2
    assert frame.image_bgr[0, 0, 0] == 3
    assert capture.take() is None
    counts = capture.counts
    assert (counts.captured, counts.consumed, counts.dropped, counts.pending) == (3, 1, 2, 0)
    source.end()


@given(st.lists(st.integers(0, 4), max_size=12))
@settings(max_examples=25, deadline=None)
def test_captured_is_consumed_plus_dropped_plus_pending(bursts):
    capture = Capture()
    capture.start()
    source = ScriptedSource()
    capture.select(source)
    total = 0
    for burst in bursts:
        source.give(*range(burst))
        total += burst
        wait_until(lambda: capture.counts.captured == total)  # noqa: B023 - called at once
        newest = capture.take()
        assert newest is None if burst == 0 else newest.id == total - 1
        counts = capture.counts
        assert counts.captured == counts.consumed + counts.dropped + counts.pending
    source.end()
    capture.stop()


def test_the_end_and_a_new_start(capture):
    source = ScriptedSource()
    capture.select(source)
    source.end()
    wait_until(lambda: capture.ended)
    capture.select(source)
    assert not capture.ended
    source.give(9)
    wait_until(lambda: capture.pending)
    assert source.opened == 2
    source.end()


def test_a_source_that_dies(capture):
    source = ScriptedSource()
    capture.select(source)
    source.fail(SourceLostError("the cable is out"))
    wait_until(lambda: capture.error is not None)
    assert str(capture.error) == "the cable is out"
    assert source.closed == 1


def test_an_unexpected_failure_is_an_error_too(capture):
    source = ScriptedSource()
    capture.select(source)
    source.fail(RuntimeError("surprise"))
    wait_until(lambda: capture.error is not None)
    assert "surprise" not in str(capture.error)


def test_an_unwanted_frame_counts_as_dropped(capture):
    source = ScriptedSource()
    capture.select(source)
    source.give(1)
    wait_until(lambda: capture.pending)
    capture.select(None)
    assert capture.counts.dropped == 1
    source.give(2)
    wait_until(lambda: source.closed == 1)
    assert capture.counts.captured == 1


def test_stop_any_number_of_times():
    capture = Capture()
    capture.stop()
    capture = Capture()
    capture.start()
    capture.stop()
    capture.stop()
    assert not capture._thread.is_alive()


def test_jpeg_is_encoded_once(capture):
    source = ScriptedSource()
    capture.select(source)
    source.give(1)
    wait_until(lambda: capture.pending)
    frame = capture.take()
    assert frame.jpeg[:2] == b"\xff\xd8"
    assert frame.jpeg is frame.jpeg
    source.end()


def test_a_failure_of_an_earlier_source_is_not_that_of_the_present_one(capture):
    earlier, source = ScriptedSource(), ScriptedSource()
    capture.select(earlier)
    earlier.give(1)
    wait_until(lambda: capture.pending)
    capture.select(source)
    earlier.fail(SourceLostError("the cable is out"))
    wait_until(lambda: source.opened == 1)
    assert earlier.closed == 1
    assert capture.error is None
    assert capture.source is source
    source.end()
