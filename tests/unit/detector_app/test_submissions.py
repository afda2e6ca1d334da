"""Pictures that are sent to the pipeline: their queue, and what becomes of it."""

import gc
import threading
import weakref

import numpy as np
import pytest

from detector_app.errors import (
    AbandonedError,
    PipelineBusyError,
    PipelineClosingError,
)
from detector_app.pipeline import Pipeline
from detector_app.states import LEGAL, State
from spyv4 import ReadOptions
from spyv4.errors import ImageError
from tests.unit.detector_app.running import IMAGE, OPTIONS, hold
from tests.unit.detector_app.scripted import wait_until


def test_a_full_queue_refuses_and_loses_nothing(pipeline):
    held, release = hold(pipeline)
    waiting = [pipeline.submit(IMAGE, OPTIONS) for _ in range(2)]
    with pytest.raises(PipelineBusyError, match="2 pictures wait"):
        pipeline.submit(IMAGE, OPTIONS)
    release.set()
    assert held.result(10).reads == 1
    assert [future.result(10).reads for future in waiting] == [2, 2]


def test_a_queue_that_closes_looks_at_what_waits_and_takes_no_more(pipeline):
    held, release = hold(pipeline)
    first = pipeline.submit(IMAGE, OPTIONS)
    pipeline.jobs.close()
    with pytest.raises(PipelineClosingError, match="is ending"):
        pipeline.require_room()
    on_its_way = pipeline.submit(IMAGE, OPTIONS)
    release.set()
    assert [answer.result(10).reads for answer in (held, first, on_its_way)] == [1, 2, 2]


def test_what_still_waits_at_the_end_is_refused(pipeline):
    held, release = hold(pipeline)
    waiting = pipeline.submit(IMAGE, OPTIONS)
    pipeline.jobs.close()
    pipeline.refuse_waiting()
    with pytest.raises(PipelineClosingError):
        waiting.result(10)
    with pytest.raises(PipelineClosingError):
        pipeline.submit(IMAGE, OPTIONS)
    release.set()
    assert held.result(10).reads == 1


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


def test_stop_is_idempotent_and_refuses_what_waits(detector):
    pipeline = Pipeline(detector, None, OPTIONS)
    assert pipeline.state is State.STOPPED
    pipeline.start()
    held, release = hold(pipeline)
    waiting = pipeline.submit(IMAGE, OPTIONS)
    stopping = threading.Thread(target=pipeline.stop)
    stopping.start()
    with pytest.raises(PipelineClosingError, match="is ending"):
        waiting.result(10)
    release.set()
    stopping.join(10)
    assert held.result(10).reads == 1
    pipeline.stop()
    assert pipeline.state is State.STOPPED
    for command in LEGAL:
        with pytest.raises(PipelineClosingError):
            pipeline.require(command)
    with pytest.raises(PipelineClosingError):
        pipeline.submit(IMAGE, OPTIONS)


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

    def fail(_detections):
        raise ValueError("on purpose")

    images = [IMAGE.copy() for _ in range(3)]
    kept = [weakref.ref(image) for image in images]
    held, release = hold(pipeline, images[0], reads=2)
    waiting = pipeline.submit(images[1], OPTIONS)
    failing = pipeline.submit(images[2], OPTIONS, fail)
    del images
    assert waiting.cancel()
    assert len(pipeline.jobs) == 1
    held.cancel()
    release.set()
    with pytest.raises(ValueError, match="on purpose"):
        failing.result(10)
    gc.disable()
    try:
        wait_until(lambda: not any(reference() is not None for reference in kept))
    finally:
        gc.enable()
