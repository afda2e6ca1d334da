"""Reads are shared out fairly, and what fails, leaves or waits at the end is told."""

import threading
from functools import partial

import numpy as np
import pytest

from detector_app.errors import AbandonedError, DetectorFailedError, ServerClosingError
from detector_app.stream import scheduler as scheduling
from detector_app.stream.scheduler import Scheduler
from spyv4 import ReadOptions
from tests.unit.detector_app.running import IMAGE, OPTIONS, hold, submit
from tests.unit.detector_app.scripted import wait_until


def noted(reads, name):
    """Note whose read it was."""
    return lambda _look: reads.append(name)


@pytest.mark.parametrize("batch", [1, 8])
def test_a_picture_of_many_reads_holds_up_none_of_few(scheduler, monkeypatch, batch):
    monkeypatch.setattr(scheduling, "BATCH", batch)
    _, held, release = hold(scheduler)
    reads, answers = [], []
    for name, count in (("long", 40), ("short", 4), ("other", 40)):
        answers.append(
            submit(scheduler, options=ReadOptions(count, 0.5), on_read=noted(reads, name))[1]
        )
    release.set()
    assert [answer.result(20) for answer in (held, *answers)] == [1, 40, 4, 40]
    before = reads[: len(reads) - 1 - reads[::-1].index("short")]
    assert [before.count(name) for name in ("long", "short", "other")] == [4, 3, 3]


def test_what_is_read_together_is_what_is_read_alone(scheduler, detector):
    """Three pictures at different reads in one step, each as if the others were not there."""
    images = [np.full((48, 64, 3), level, np.uint8) for level in (30, 90, 200)]
    _, held, release = hold(scheduler)
    found, answers = {}, []

    def keep(index, look):
        found[index, look.number] = look.detections()[0]

    for index, image in enumerate(images):
        options = ReadOptions(index + 2, 0.0)
        answers.append(submit(scheduler, image, options, partial(keep, index))[1])
    release.set()
    assert [answer.result(10) for answer in (held, *answers)] == [1, 2, 3, 4]
    for index, image in enumerate(images):
        for wanted in detector.reads(image, index + 2, score_threshold=0.0):
            got = found[index, wanted.reads]
            np.testing.assert_allclose(got.scores, wanted.scores, atol=1e-5)
            np.testing.assert_allclose(got.boxes_xyxy, wanted.boxes_xyxy, atol=1e-2)
    assert len({found[index, 2].scores.tobytes() for index in range(3)}) == 3


def test_who_waits_for_the_last_read_is_told_of_it_alone(scheduler, detector):
    told = []
    _, answer = submit(scheduler, on_read=told.append, options=ReadOptions(3, 0.0), last_alone=True)
    assert answer.result(10) == 3
    (look,) = told
    expected = detector.detect(IMAGE, 3, score_threshold=0.0, activity=True)
    shown = look.detections(ReadOptions(3, 0.0, activity=True))[0]
    assert shown.firing_rates == pytest.approx(expected.firing_rates, abs=1e-6)


def test_an_error_reaches_who_waits_and_nobody_else(scheduler):
    def fail(_look):
        raise ValueError("on purpose")

    _, held, release = hold(scheduler, reads=2)
    _, failing = submit(scheduler, on_read=fail)
    _, good = submit(scheduler)
    release.set()
    with pytest.raises(ValueError, match="on purpose"):
        failing.result(10)
    assert (held.result(10), good.result(10)) == (2, 2)


def test_who_leaves_is_read_no_further(scheduler):
    reads, begun = [], threading.Event()

    def leave(look):
        begun.wait(10)
        reads.append(look.number)
        work.cancel()

    work, answer = submit(scheduler, options=ReadOptions(200, 0.5), on_read=leave)
    begun.set()
    with pytest.raises(AbandonedError):
        answer.result(10)
    assert reads == [1]
    assert work.owed == 0


def test_stop_is_idempotent_and_refuses_what_waits(detector):
    scheduler = Scheduler(detector)
    scheduler.start()
    _, held, release = hold(scheduler)
    _, waiting = submit(scheduler)
    stopping = threading.Thread(target=scheduler.stop)
    stopping.start()
    with pytest.raises(ServerClosingError, match="is ending"):
        waiting.result(10)
    release.set()
    stopping.join(10)
    assert held.result(10) == 1
    scheduler.stop()
    with pytest.raises(ServerClosingError):
        submit(scheduler)


def test_what_is_looked_at_when_it_stops_is_refused_too(detector):
    scheduler = Scheduler(detector)
    scheduler.start()
    _, held, release = hold(scheduler, reads=5)
    stopping = threading.Thread(target=scheduler.stop)
    stopping.start()
    wait_until(lambda: scheduler._stopping)
    release.set()
    with pytest.raises(ServerClosingError):
        held.result(10)
    stopping.join(10)


def test_a_broken_network_is_said_to_everybody(scheduler, monkeypatch, caplog):
    _, held, release = hold(scheduler)
    _, waiting = submit(scheduler)
    monkeypatch.setattr(scheduling, "advance", lambda *_arguments, **_options: 1 / 0)
    release.set()
    assert held.result(10) == 1
    with pytest.raises(DetectorFailedError, match="start it again"):
        waiting.result(10)
    wait_until(lambda: scheduler.failed)
    with pytest.raises(DetectorFailedError):
        submit(scheduler, IMAGE, OPTIONS)
    assert "ZeroDivisionError" in caplog.text


# Nothing scores that much, so that the second read agrees with the first.
EARLY = ReadOptions("auto", 1.0, max_reads=8)
# Of an untrained network no two reads are alike.
NEVER = ReadOptions("auto", 0.0, agree_iou=1.0, agree_score=0.0, agree_margin=0.0, max_reads=5)


def test_auto_ends_where_reads_agree_or_at_the_most(scheduler):
    for options, most, taken in ((EARLY, 8, 2), (NEVER, 5, 5)):
        _, held, release = hold(scheduler)
        lasts = []
        work, answer = submit(
            scheduler,
            options=options,
            on_read=lambda look, lasts=lasts: lasts.append(look.finished),
        )
        assert work.owed == most
        release.set()
        assert answer.result(10) == taken
        assert lasts == [False] * (taken - 1) + [True]
        assert work.owed == 0
        held.result(10)


def test_who_ends_early_frees_its_place(scheduler, monkeypatch):
    monkeypatch.setattr(scheduling, "BATCH", 1)
    _, held, release = hold(scheduler)
    reads = []
    _, early = submit(scheduler, options=EARLY, on_read=noted(reads, "early"))
    _, other = submit(scheduler, options=ReadOptions(4, 0.5), on_read=noted(reads, "other"))
    release.set()
    assert [answer.result(10) for answer in (held, early, other)] == [1, 2, 4]
    assert reads == ["early", "other", "early", *["other"] * 3]


def test_who_waits_for_the_last_read_of_auto_is_told_of_it_alone(scheduler, detector):
    told = []
    _, answer = submit(scheduler, on_read=told.append, options=EARLY, last_alone=True)
    assert answer.result(10) == 2
    (look,) = told
    expected = detector.detect(IMAGE, 2, activity=True)
    (shown,) = look.detections(ReadOptions("auto", 1.0, activity=True))
    assert shown.firing_rates == pytest.approx(expected.firing_rates, abs=1e-6)
