from typing import Any

import numpy as np
import pytest

from spyv4 import Detections
from spyv4.errors import RuntimeUnavailableError
from spyv4.tracking import Tracker


def seen(*boxes: tuple[float, float], scores: Any = None, labels: Any = None) -> Detections:
    """Boxes of 20 x 20 pixels by their left upper corners."""
    corners = np.array(boxes, np.float32).reshape(-1, 2)
    return Detections(
        np.concatenate([corners, corners + 20], axis=1),
        np.full(len(boxes), 0.3, np.float32) if scores is None else np.array(scores, np.float32),
        np.zeros(len(boxes), np.int64) if labels is None else np.array(labels),
        ("car", "bus"),
        (200, 400),
        1,
    )


def tracks(detections: Detections) -> list[int]:
    assert detections.tracks is not None
    return detections.tracks.tolist()


def test_objects_keep_their_numbers_whatever_their_order() -> None:
    tracker = Tracker(25.0)
    numbers = []
    for step in range(12):
        left, right = (10.0 + 3 * step, 20.0), (300.0 - 3 * step, 120.0)
        swap = step % 2 == 1
        found = tracker.update(seen(right, left) if swap else seen(left, right))
        assert found.boxes_xyxy[int(swap), 0] == left[0], "boxes have moved to other rows"
        numbers.append(tracks(found)[::-1] if swap else tracks(found))
    assert numbers[0] == [0, 0]
    assert sorted(numbers[1]) == [1, 2]
    assert all(pair == numbers[1] for pair in numbers[1:])


def test_an_object_that_is_hidden_for_a_moment_is_the_same() -> None:
    tracker = Tracker(25.0)
    found = [tracks(tracker.update(seen((10.0 + step, 20.0)))) for step in range(6)]
    assert found[1:] == [[1]] * 5
    for _ in range(5):
        assert tracks(tracker.update(seen())) == []
    assert tracks(tracker.update(seen((21.0, 20.0)))) == [1]


def test_an_object_that_was_away_for_long_is_another() -> None:
    """It is remembered for a second: 5 frames at 5 a second."""

    def after(frames: int) -> int:
        tracker = Tracker(5.0)
        for _ in range(3):
            tracker.update(seen((10.0, 20.0)))
        for _ in range(frames):
            tracker.update(seen())
        tracker.update(seen((10.0, 20.0)))
        return tracks(tracker.update(seen((10.0, 20.0))))[0]

    assert after(3) == 1
    assert after(12) == 2


def test_what_is_seen_once_has_no_number() -> None:
    tracker = Tracker(25.0)
    for step in range(4):
        found = tracker.update(seen((90.0 * step, 100.0 if step % 2 else 20.0)))
        assert tracks(found) == [0]


def test_low_scores_and_changing_classes_are_followed() -> None:
    tracker = Tracker(25.0)
    for step in range(4):
        found = tracker.update(seen((10.0, 20.0), scores=[0.01], labels=[step % 2]))
    assert tracks(found) == [1]
    assert found.names == ["bus"]


def test_two_trackers_do_not_know_each_other() -> None:
    for _ in range(2):
        tracker = Tracker(25.0)
        tracker.update(seen((10.0, 20.0)))
        assert tracks(tracker.update(seen((10.0, 20.0)))) == [1]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match=r"identities .* 'spyv4\[track\]'"):
        Tracker(25.0)
