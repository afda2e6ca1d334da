import numpy as np
import pytest

from detector_app.errors import SourceError
from detector_app.stream.clip import EventClip, open_clip
from detector_app.stream.events import EVENT_STEP, GREY, EventFrames, EventSource
from detector_app.stream.sources import VideoSource, parse_source
from tests.helpers.recordings import SIDE, moving_edge, write_aedat4, write_nmnist


@pytest.fixture
def recording(tmp_path):
    """Events from 0.012 to 0.194 seconds: six frames of 33 milliseconds."""
    return write_nmnist(tmp_path / "edge.bin", moving_edge())


def events(*rows):
    """(time in microseconds, x, y, on)."""
    made = moving_edge()[: len(rows)]
    for name, values in zip(("t", "x", "y", "on"), zip(*rows, strict=True), strict=True):
        made[name] = values
    return made


def frames_of(path, window_ms=1.0):
    return np.stack(list(EventFrames(path, window_ms)))


def test_a_frame_is_grey_and_events_are_brighter_and_darker(tmp_path):
    rows = [(0, 1, 2, True), (1, 1, 2, True), (999, 3, 4, False)]
    (frame,) = frames_of(write_nmnist(tmp_path / "a.bin", events(*rows)))
    assert frame.shape == (SIDE, SIDE, 3)
    assert frame.dtype == np.uint8
    assert frame[2, 1].tolist() == [GREY + 2 * EVENT_STEP] * 3
    assert frame[4, 3].tolist() == [GREY - EVENT_STEP] * 3
    assert (frame != GREY).sum() == 6


def test_many_events_end_at_white_and_black_and_opposite_ones_cancel(tmp_path):
    rows = [(0, 0, 0, True)] * 9 + [(0, 1, 0, False)] * 9 + [(0, 2, 0, True), (0, 2, 0, False)]
    (frame,) = frames_of(write_nmnist(tmp_path / "a.bin", events(*rows)))
    assert frame[0, :3, 0].tolist() == [255, 0, GREY]


def test_frames_begin_at_the_first_event_and_last_the_window(tmp_path):
    rows = [(5_500, 0, 0, True), (6_499, 1, 0, True), (6_500, 2, 0, True), (9_600, 3, 0, True)]
    frames = frames_of(write_nmnist(tmp_path / "a.bin", events(*rows)))
    shown = [np.flatnonzero(frame[0, :, 0] != GREY).tolist() for frame in frames]
    assert shown == [[0, 1], [2], [], [], [3]]


def test_every_event_is_in_one_frame_however_the_file_is_cut(tmp_path):
    """AEDAT4 comes in pieces, which end within frames."""
    edge = moving_edge()
    one = frames_of(write_nmnist(tmp_path / "a.bin", edge), 33.0)
    several = frames_of(write_aedat4(tmp_path / "a.aedat4", edge), 33.0)
    np.testing.assert_array_equal(one, several)
    assert len(one) == 6
    assert (one != GREY).any(axis=(1, 2, 3)).all()


def test_late_events_count_at_once(tmp_path):
    rows = [(0, 0, 0, True), (2_000, 1, 0, True), (1_000, 2, 0, True), (3_000, 3, 0, True)]
    frames = frames_of(write_nmnist(tmp_path / "a.bin", events(*rows)))
    shown = [np.flatnonzero(frame[0, :, 0] != GREY).tolist() for frame in frames]
    assert shown == [[0], [], [1, 2], [3]]


@pytest.mark.parametrize(
    ("times", "write", "message"),
    [
        ((0, 61_000_000), write_aedat4, "leaps by 61 seconds"),
        ((0, 2_000_000, 500_000), write_nmnist, "goes back by 2 seconds"),
    ],
)
@pytest.mark.parametrize("window_ms", [1.0, 30_000.0])
def test_a_clock_that_cannot_be_is_damage(tmp_path, times, write, message, window_ms):
    name = "a.bin" if write is write_nmnist else "a.aedat4"
    path = write(tmp_path / name, events(*((time, 0, 0, True) for time in times)))
    with pytest.raises(SourceError, match=rf"clock of {name} {message}"):
        frames_of(path, window_ms)


@pytest.mark.parametrize("name", ["a.bin", "a.aedat4"])
def test_without_events_there_are_no_frames(tmp_path, name):
    write = write_nmnist if name == "a.bin" else write_aedat4
    path = write(tmp_path / name, moving_edge()[:0])
    with pytest.raises(SourceError, match=rf"{name} holds no events"):
        frames_of(path)


def test_a_recording_is_a_source_in_real_time_and_ends(recording):
    source = parse_source(str(recording), event_window_ms=33.0)
    assert isinstance(source, EventSource)
    assert source.name == "edge.bin"
    assert source.frame_rate == pytest.approx(1000 / 33)
    source.open()
    frames = [source.read() for _ in range(7)]
    assert [frame is None for frame in frames] == [False] * 6 + [True]
    source.close()
    source.open()
    np.testing.assert_array_equal(source.read(), frames[0])
    source.close()


def test_a_recording_can_loop(recording):
    source = parse_source(str(recording), loop=True)
    source.open()
    frames = [source.read() for _ in range(14)]
    np.testing.assert_array_equal(frames[0], frames[6])
    np.testing.assert_array_equal(frames[1], frames[13])


def test_one_that_is_cut_away_meanwhile_does_not_loop_for_ever(recording):
    source = EventSource(recording, 33.0, loop=True)
    source.open()
    recording.write_bytes(b"")
    for _ in range(6):
        source.read()
    with pytest.raises(SourceError, match=r"edge\.bin holds no events"):
        source.read()


def test_other_files_stay_videos(tmp_path):
    path = tmp_path / "clip.mp4"
    path.touch()
    assert isinstance(parse_source(str(path)), VideoSource)


def test_one_frame_in_so_many(recording):
    with open_clip(recording, every=4, window_ms=33.0) as clip:
        assert isinstance(clip, EventClip)
        assert clip.rate == pytest.approx(1000 / 33 / 4)
        frames = list(clip)
    assert [(frame.number, round(frame.time_s, 3)) for frame in frames] == [(0, 0.0), (4, 0.132)]
