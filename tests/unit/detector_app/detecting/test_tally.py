import numpy as np

from detector_app.detecting.found import Found
from detector_app.detecting.inputs import Input
from detector_app.detecting.tally import Tally
from spyv4 import Detections
from tests.helpers.looking import frame


def found(*labels, tracks=None, clip="a.mp4"):
    count = len(labels)
    detections = Detections(
        np.zeros((count, 4), np.float32),
        np.ones(count, np.float32),
        np.array(labels, np.int64),
        ("cat", "dog", "bird"),
        (50, 70),
        1,
        tracks=None if tracks is None else np.array(tracks, np.int64),
    )
    return Found(Input(clip, clip), frame(), detections, 0, 0.0)


def test_every_box_counts_where_nothing_is_tracked():
    tally = Tally()
    assert str(tally) == "nothing"
    for one in (found(0, 1), found(1), found()):
        tally.add(one)
    assert str(tally) == "dog 2, cat 1"


def test_a_tracked_object_counts_once_in_its_clip():
    tally = Tally()
    for _ in range(3):
        tally.add(found(0, 1, 1, tracks=[1, 2, 0]))
    assert str(tally) == "cat 1, dog 1"
    tally.add(found(0, tracks=[1], clip="b.mp4"))
    assert str(tally) == "cat 2, dog 1"


def test_a_tracked_object_is_what_it_was_seen_as_most_often():
    tally = Tally()
    for label in (2, 0, 0, 2, 0):
        tally.add(found(label, tracks=[7]))
    assert str(tally) == "cat 1"
