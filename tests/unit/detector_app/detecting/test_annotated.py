import dataclasses

import cv2
import numpy as np
import pytest

from detector_app import mp4
from detector_app.detecting.annotated import ClipCopy, PictureCopy
from detector_app.detecting.found import Found
from detector_app.detecting.inputs import Input
from spyv4 import Detections
from tests.helpers.clips import read_clip
from tests.helpers.looking import frame


def nothing(image):
    """A frame in which nothing was found."""
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    detections = Detections(*none, ("a",), image.shape[:2], 1)
    return Found(Input("clip.mp4", "clip"), image, detections, 0, 0.0)


def shades(*sizes):
    """Plain frames of (height, width), each lighter than the one before."""
    return [np.full((*size, 3), 60 + 60 * index, np.uint8) for index, size in enumerate(sizes)]


def copied(path, images):
    writer = ClipCopy(path, 12.5)
    for image in images:
        writer.write(nothing(image))
    writer.close()
    return read_clip(path)


def test_the_frames_come_back_in_their_order_and_rate(tmp_path):
    copy = copied(tmp_path / "new" / "a.mp4", shades((48, 64), (48, 64), (48, 64)))
    assert copy.rate == 12.5
    assert copy.frames.mean((1, 2, 3)) == pytest.approx([60, 120, 180], abs=3)


def test_odd_sides_lose_a_row_and_a_column(tmp_path):
    image = frame(0, (49, 65)) // 8
    image[-1] = image[:, -1] = 255
    copy = copied(tmp_path / "a.mp4", [image, image])
    assert copy.frames.shape == (2, 48, 64, 3)
    assert copy.frames.max() < 128, "what is left out is seen"


def test_frames_of_another_size_are_stretched_to_the_first(tmp_path):
    copy = copied(tmp_path / "a.mp4", shades((48, 64), (30, 100), (49, 64)))
    assert copy.frames.shape == (3, 48, 64, 3)
    assert copy.frames.mean((1, 2, 3)) == pytest.approx([60, 120, 180], abs=3)


def test_a_clip_without_frames_leaves_no_file(tmp_path):
    ClipCopy(tmp_path / "a.mp4", 25.0).close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "a.mp4").mkdir()
    with pytest.raises(OSError, match=r"a\.mp4 cannot be written as MP4"):
        ClipCopy(tmp_path / "a.mp4", 25.0).write(nothing(frame()))


def test_a_file_that_lacks_frames_is_named(tmp_path, monkeypatch):
    class Forgetful:
        """A writer that loses its second frame, as on a full disk."""

        def __init__(self):
            self._plain, self._frames = cv2.VideoWriter(), 0

        def open(self, *how):
            return self._plain.open(*how)

        def write(self, image):
            self._frames += 1
            if self._frames != 2:
                self._plain.write(image)

        def release(self):
            self._plain.release()

    writer = ClipCopy(tmp_path / "a.mp4", 25.0)
    monkeypatch.setattr(writer._clip, "_writer", Forgetful())
    for image in shades((48, 64), (48, 64), (48, 64)):
        writer.write(nothing(image))
    with pytest.raises(OSError, match=r"a\.mp4 holds 2 of 3 frames; is the disk full\?"):
        writer.close()


def test_a_picture_is_written_with_its_boxes(tmp_path, monkeypatch):
    found = nothing(frame())
    PictureCopy(tmp_path / "a.png").write(found)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png")), frame())
    one = dataclasses.replace(
        found.detections,
        boxes_xyxy=np.array([[5, 20, 30, 40]], np.float32),
        scores=np.ones(1, np.float32),
        labels=np.zeros(1, np.int64),
    )
    PictureCopy(tmp_path / "b.png").write(dataclasses.replace(found, detections=one))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "b.png")), one.plot(frame()))
    assert mp4.CODEC == "mp4v"
