"""Recordings: what is on them, and for how long."""

import time

import numpy as np
import pytest

from detector_app import record
from detector_app.record import recording
from detector_app.stream.hub import Hub
from spyv4 import ReadOptions
from spyv4.errors import ArgumentError
from tests.helpers.clips import read_clip
from tests.unit.detector_app.scripted import ScriptedSource, wait_until

OPTIONS = ReadOptions(2, 0.6)


def test_a_recording_shows_boxes_and_keeps_time(detector, tmp_path, monkeypatch):
    """Three frames half a second apart, and a silence that is cut."""
    monkeypatch.setattr(record, "PAUSE_S", 0.6)
    source, path = ScriptedSource(), tmp_path / "new" / "a.mp4"
    hub = Hub(detector, [source])
    hub.scheduler.start()
    with recording(hub, OPTIONS, path):
        for count, pause_s in enumerate((0.5, 0.5, 1.2, 0.0), start=1):
            source.give(40 * count)
            wait_until(lambda: hub.counts.consumed == count)  # noqa: B023 - called at once
            time.sleep(pause_s)
        wait_until(lambda: hub.streams[0].latest.last)
        time.sleep(0.3)
        source.end()
    hub.stop()
    clip = read_clip(path)
    assert clip.rate == record.RATE
    assert 0.9 * record.RATE < len(clip.frames) - 1 < 2.0 * record.RATE
    expected = []
    for level in (40, 80, 120, 160):
        image = np.full((48, 64, 3), level, np.uint8)
        expected.append(detector.detect(image, 2, score_threshold=0.6).plot(image))
    off = np.abs(clip.frames[:, None].astype(int) - np.stack(expected)).mean(axis=(2, 3, 4))
    assert off.min(axis=1).max() < 20 < np.sort(off, axis=1)[:, 1].min()
    shown = off.argmin(axis=1)
    assert set(shown) == {0, 1, 2, 3}
    assert list(shown) == sorted(shown)


def test_nothing_is_written_over(detector, tmp_path):
    hub, path = Hub(detector, [ScriptedSource()]), tmp_path / "a.mp4"
    path.write_bytes(b"x")
    with pytest.raises(ArgumentError, match="exists already"), recording(hub, OPTIONS, path):
        pass
    assert path.read_bytes() == b"x"
    wrong = tmp_path / "a.gif"
    with pytest.raises(ArgumentError, match=r"ends in \.mp4"), recording(hub, OPTIONS, wrong):
        pass


def test_a_file_that_cannot_be_written_is_an_error(detector, tmp_path):
    source = ScriptedSource()
    hub = Hub(detector, [source])
    hub.scheduler.start()
    (tmp_path / "file").write_text("no folder")

    def record_one():
        with recording(hub, OPTIONS, tmp_path / "file" / "a.mp4"):
            source.give(40)
            wait_until(lambda: hub.counts.consumed == 1)
            time.sleep(0.3)
            source.end()

    with pytest.raises(OSError, match="file"):
        record_one()
    hub.stop()
