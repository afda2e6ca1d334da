import numpy as np
import pytest

from detector_app.errors import SourceLostError, StreamStateError
from detector_app.stream import feed as feeds
from detector_app.stream.feed import Feed
from detector_app.stream.states import State, require_legal
from tests.unit.detector_app.scripted import ScriptedSource, wait_until


class Taker:
    """Takes every frame."""

    def __init__(self):
        self.frames, self.woken = [], 0

    def offer(self, frame):
        self.frames.append(frame)

    def wake(self):
        self.woken += 1


@pytest.fixture
def feed(source):
    made = Feed(source, (64, 64))
    yield made
    source.end()
    made.stop()


@pytest.fixture
def taker():
    return Taker()


def test_all_subscribers_share_one_open_source(feed, source, taker):
    other = Taker()
    assert feed.state is State.PAUSED
    feed.subscribe(taker)
    feed.subscribe(other)
    assert feed.state is State.OPENING
    source.give(1, 2)
    wait_until(lambda: len(other.frames) == 2)
    assert feed.state is State.RUNNING
    assert [frame.id for frame in taker.frames] == [0, 1]
    assert taker.frames == other.frames
    assert source.opened == 1
    feed.unsubscribe(taker)
    source.give(3)
    wait_until(lambda: len(other.frames) == 3)
    feed.unsubscribe(other)
    assert feed.state is State.PAUSED
    source.give(4)  # wakes the reader, which then lets go
    wait_until(lambda: source.closed == 1)
    assert len(other.frames) == 3


def test_the_end_and_a_new_start(feed, source, taker):
    feed.subscribe(taker)
    source.give(1)
    source.end()
    wait_until(lambda: feed.state is State.ENDED)
    wait_until(lambda: taker.woken == 1)
    feed.retry()
    source.give(9)
    wait_until(lambda: len(taker.frames) == 2)
    assert [frame.opening for frame in taker.frames] == [1, 2]


def test_a_source_that_died_is_opened_again_on_request(feed, source, taker, caplog):
    feed.subscribe(taker)
    source.fail(SourceLostError("the cable is out"))
    wait_until(lambda: taker.woken == 1)
    assert feed.state is State.LOST
    assert str(feed.error) == "the cable is out"
    assert source.closed == 1
    feed.retry()
    assert feed.state is State.OPENING
    source.give(7)
    wait_until(lambda: feed.state is State.RUNNING)
    assert feed.error is None
    assert caplog.text.count("the cable is out") == 1


def test_a_camera_that_died_is_tried_again_ever_less_often(
    feed, source, taker, monkeypatch, caplog
):
    monkeypatch.setattr(feeds, "BACKOFF_S", (0.01, 0.02, 0.03))
    monkeypatch.setattr(source, "may_come_back", True)
    pauses, wait_for = [], feed._changed.wait_for

    def noted(predicate, timeout=None):
        if timeout is not None:
            pauses.append(timeout)
        return wait_for(predicate, timeout)

    monkeypatch.setattr(feed._changed, "wait_for", noted)
    for _ in range(5):
        source.fail(SourceLostError("the cable is out"))
    source.give(7)
    feed.subscribe(taker)
    wait_until(lambda: feed.state is State.RUNNING)
    assert pauses[:5] == [0.01, 0.02, 0.03, 0.03, 0.03]
    assert feed.error is None
    assert [record.levelname for record in caplog.records if "cable" in record.message] == ["ERROR"]


def test_an_unexpected_failure_is_an_error_too(feed, source, taker):
    feed.subscribe(taker)
    source.fail(RuntimeError("surprise"))
    wait_until(lambda: feed.state is State.LOST)
    assert "surprise" not in str(feed.error)


def test_a_silent_source_counts_as_lost_until_it_is_heard(feed, source, taker, monkeypatch):
    feed.subscribe(taker)
    source.give(1)
    wait_until(lambda: feed.state is State.RUNNING)
    monkeypatch.setattr(feeds, "SILENCE_S", 0.05)
    wait_until(lambda: feed.state is State.LOST)
    assert "delivered no picture" in str(feed.error)
    monkeypatch.setattr(feeds, "SILENCE_S", 60.0)
    source.give(2)
    wait_until(lambda: feed.state is State.RUNNING)


def test_a_slow_source_is_opening_for_longer_than_it_may_be_silent(feed, taker, monkeypatch):
    monkeypatch.setattr(feeds, "SILENCE_S", 0.0)
    feed.subscribe(taker)
    assert feed.state is State.OPENING
    monkeypatch.setattr(feeds, "OPENING_S", 0.0)
    assert feed.state is State.LOST


def test_a_frame_that_cannot_be_read_is_an_error_of_its_source(feed, source, taker):
    feed.subscribe(taker)
    source.steps.put(np.zeros((48, 64, 2), np.uint8))
    wait_until(lambda: feed.state is State.LOST)
    assert "(BGR)" in str(feed.error)


def test_stop_any_number_of_times(source):
    feed = Feed(source, (64, 64))
    feed.stop()
    feed = Feed(source, (64, 64))
    feed.subscribe(Taker())
    source.give(1)
    feed.stop()
    feed.stop()
    assert not feed._thread.is_alive()


def test_jpeg_is_encoded_once(feed, source, taker):
    feed.subscribe(taker)
    source.give(1)
    wait_until(lambda: taker.frames)
    (frame,) = taker.frames
    assert frame.jpeg[:2] == b"\xff\xd8"
    assert frame.jpeg is frame.jpeg


@pytest.mark.parametrize("state", list(State))
def test_what_is_legal_in_which_state(state):
    legal = {"retry": {State.LOST, State.ENDED}, "snapshot": {State.RUNNING}}
    for command, states in legal.items():
        if state in states:
            require_legal(command, state)
        else:
            with pytest.raises(StreamStateError, match=f"{command} is not possible while"):
                require_legal(command, state)


def test_two_feeds_do_not_hold_up_each_other(taker):
    stuck, lively = ScriptedSource(), ScriptedSource()
    feeds = [Feed(stuck, (64, 64)), Feed(lively, (64, 64))]
    for feed in feeds:
        feed.subscribe(taker)
    lively.give(1)
    wait_until(lambda: len(taker.frames) == 1)
    for source, feed in zip((stuck, lively), feeds, strict=True):
        source.end()
        feed.stop()
