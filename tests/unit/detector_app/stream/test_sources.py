import os

import cv2
import numpy as np
import pytest

from detector_app.errors import SourceError, SourceLostError
from detector_app.stream.demo import DemoSource
from detector_app.stream.sources import (
    HOLD_S,
    STILL_RATE,
    CameraSource,
    ImagesSource,
    Pace,
    VideoSource,
    parse_source,
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (64, 48))
    for level in range(10):
        writer.write(np.full((48, 64, 3), 20 * level, np.uint8))
    writer.release()
    return path


@pytest.fixture
def pictures(tmp_path):
    for name in ("b.png", "a.jpg"):
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), ord(name[0]), np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind"), [("0", CameraSource), ("rtsp://host/a", CameraSource), ("demo", DemoSource)]
)
def test_names_of_sources(text, kind):
    assert isinstance(parse_source(text), kind)


def test_files_folders_and_patterns(pictures, clip):
    assert isinstance(parse_source(str(clip)), VideoSource)
    assert isinstance(parse_source(str(pictures / "b.png")), ImagesSource)
    folder, pattern = parse_source(str(pictures)), parse_source(str(pictures / "*.png"))
    assert [path.name for path in folder.paths] == ["a.jpg", "b.png"]
    assert [path.name for path in pattern.paths] == ["b.png"]


@pytest.mark.parametrize("text", ["nowhere.mp4", "nowhere/*.png", ""])
def test_what_is_not_there_is_named(text):
    with pytest.raises(SourceError, match=r"give a camera number|holds no pictures"):
        parse_source(text)


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(SourceError, match="holds no pictures"):
        parse_source(str(tmp_path))


def test_a_camera_that_is_not_there():
    with pytest.raises(SourceError, match=r"camera 91 cannot be opened; .*--source demo"):
        CameraSource(91).open()


def test_the_login_of_a_stream_is_not_shown():
    source = CameraSource("rtsp://me:secret@cam.local/live?token=1")
    assert source.name == "rtsp://cam.local/live"


def test_a_clip_has_its_own_rate_and_ends(clip):
    source = VideoSource(clip)
    source.open()
    frames = [source.read() for _ in range(11)]
    source.close()
    assert source.frame_rate == 50
    assert frames[-1] is None
    assert all(frame is not None for frame in frames[:-1])


def test_a_clip_can_loop(clip):
    source = VideoSource(clip, loop=True)
    source.open()
    assert all(source.read() is not None for _ in range(25))
    source.close()


def test_a_file_that_is_no_video(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"not a clip")
    with pytest.raises(SourceError, match=r"clip\.mp4 is not a video"):
        VideoSource(path).open()


def test_pictures_are_held_and_end(pictures):
    source = parse_source(str(pictures))
    source.open()
    held = int(HOLD_S * STILL_RATE)
    levels = [int(source.read()[0, 0, 0]) for _ in range(2 * held)]
    assert levels == [ord("a")] * held + [ord("b")] * held
    assert source.read() is None


def test_pace_does_not_catch_up():
    pace = Pace(1000.0)
    assert 0 <= pace.delay_s() <= 0.001
    pace._due -= 5  # as after a delay of five seconds
    assert pace.delay_s() == 0
    assert 0 < pace.delay_s() <= 0.001


def test_an_address_that_ends_is_lost(clip):
    """A file stands for a stream: OpenCV opens both by their address."""
    source = CameraSource(str(clip))
    source.open()
    assert [source.read().shape for _ in range(10)] == [(48, 64, 3)] * 10
    with pytest.raises(SourceLostError, match="stopped delivering pictures"):
        source.read()
    source.close()
    with pytest.raises(SourceLostError):
        source.read()


def test_pictures_can_loop(pictures):
    source = parse_source(str(pictures), loop=True)
    source.open()
    held = int(HOLD_S * STILL_RATE)
    levels = [int(source.read()[0, 0, 0]) for _ in range(2 * held + 1)]
    assert levels[-1] == levels[0] == ord("a")
    source.close()


def test_a_broken_picture_and_a_pipe_are_passed_over(pictures, caplog):
    (pictures / "aa.png").write_bytes(b"no picture")
    os.mkfifo(pictures / "ab.png")  # to open it would block
    source = parse_source(str(pictures))
    source.open()
    whole = len(list(source.paths)) - 1
    shown = 0
    while source.read() is not None:
        shown += 1
    assert shown == whole * HOLD_S * STILL_RATE
    assert "aa.png is not a picture" in caplog.text


@pytest.mark.parametrize("loop", [True, False])
def test_a_folder_of_broken_pictures_is_lost(tmp_path, loop):
    folder = tmp_path / "album"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        (folder / name).write_bytes(b"no picture")
    source = parse_source(str(folder), loop=loop)
    source.open()
    with pytest.raises(SourceLostError, match="no picture of album can be read"):
        source.read()


def test_names_hold_no_path_of_the_machine(pictures, clip):
    for text in (pictures, pictures / "*.png", pictures / "b.png", clip):
        assert str(pictures.parent) not in parse_source(str(text)).name
