import importlib.util
import os

import numpy as np
import pytest

from detector_app.errors import SourceError
from detector_app.stream import recordings
from detector_app.stream.recordings import MAX_NMNIST_BYTES, open_recording
from spyv4.errors import RuntimeUnavailableError
from tests.helpers.recordings import (
    SIDE,
    moving_edge,
    write_aedat4,
    write_dat,
    write_nmnist,
    write_raw,
)

WRITERS = {"a.aedat4": write_aedat4, "a.raw": write_raw, "a.dat": write_dat, "a.bin": write_nmnist}


@pytest.fixture(params=WRITERS)
def recording(request, tmp_path):
    return WRITERS[request.param](tmp_path / request.param, moving_edge())


def whole(path):
    """All events of a recording: their times, x, y, and whether they are on."""
    pieces = list(open_recording(path).pieces)
    return [np.concatenate([np.zeros(0, int), *each]) for each in zip(*pieces, strict=True)]


def found_or_named(path):
    """How many events are read, none where the recording is refused by its name."""
    try:
        return sum(len(piece.x) for piece in open_recording(path).pieces)
    except SourceError as error:
        if path.name not in str(error):
            raise
        return 0


def test_every_format_gives_the_events_that_were_written(recording):
    assert open_recording(recording).size == (SIDE, SIDE)
    events = moving_edge()
    for found, name in zip(whole(recording), ("t", "x", "y", "on"), strict=True):
        np.testing.assert_array_equal(found, events[name], err_msg=name)


def test_evt2_is_read_as_evt3_is(tmp_path):
    path = write_raw(tmp_path / "a.raw", moving_edge(), "evt2")
    np.testing.assert_array_equal(whole(path)[1], moving_edge()["x"])


def test_the_clock_of_nmnist_begins_anew(tmp_path):
    """An event in row 240 stands for 8,192 microseconds more."""
    events = moving_edge()[:3]
    events["t"] = 10, 20, 30
    path = write_nmnist(tmp_path / "a.bin", events)
    data = path.read_bytes()
    path.write_bytes(data[:5] + bytes([7, 240, 0, 0, 0]) + data[5:])
    time_us, x, _, _ = whole(path)
    assert time_us.tolist() == [10, 8212, 8222]
    assert len(x) == 3, "the sign is no event"


def test_larger_sensors_of_that_layout_are_as_large_as_their_events(tmp_path):
    events = moving_edge()
    events["x"][7] = 199
    assert open_recording(write_nmnist(tmp_path / "a.bin", events)).size == (SIDE, 200)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("content", [b"", b"no recording at all\n" * 60], ids=["empty", "text"])
def test_what_is_no_recording_is_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content + b"\n" * (len(content) % 5 == 0 and bool(content)))
    if name != "a.bin":
        pytest.importorskip("faery", reason="faery (extra events) reads it")
    assert found_or_named(path) == 0


def test_one_cut_short_never_crashes(recording):
    """Of any length: its first events, or a line that names it."""
    data = recording.read_bytes()
    for length in (1, 3, 20, len(data) // 3, len(data) // 2 + 1, len(data) - 3):
        recording.write_bytes(data[:length])
        assert found_or_named(recording) <= len(moving_edge())


def test_damage_never_crashes(recording):
    """Events, or a line that names the file; not an error of a library."""
    original = np.frombuffer(recording.read_bytes(), np.uint8)
    chosen = np.random.default_rng(0)
    for _ in range(60):
        data = original.copy()
        places = chosen.integers(0, len(data), 1 + chosen.integers(0, 8))
        data[places] = chosen.integers(0, 256, len(places))
        recording.write_bytes(data.tobytes())
        found_or_named(recording)


def test_where_the_library_panics_the_file_is_named(tmp_path):
    """A place in the head of AEDAT4 that lies beyond the file; a panic is no `Exception`."""
    path = write_aedat4(tmp_path / "a.aedat4", moving_edge())
    data = bytearray(path.read_bytes())
    data[18:22] = (5_000_000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.aedat4 cannot be read .*out of range"):
        open_recording(path)


@pytest.mark.parametrize(
    ("name", "version"), [("a.aedat4", ""), ("a.raw", "evt3"), ("a.raw", "evt2"), ("a.dat", "")]
)
def test_events_beside_the_sensor_are_damage(tmp_path, name, version):
    """The libraries see to that, and frames rely on it."""
    path = WRITERS[name](tmp_path / name, moving_edge(), *[version] * bool(version))
    data = path.read_bytes()
    for one, other in (
        (b">34<", b">20<"),
        (b"=34", b"=20"),
        (b" 34", b" 20"),
        (b"34x34", b"20x20"),
    ):
        data = data.replace(one, other)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=rf"{path.name} cannot be read .*overflow"):
        list(open_recording(path).pieces)


def test_a_sensor_that_no_camera_has(tmp_path):
    path = write_aedat4(tmp_path / "a.aedat4", moving_edge(), size=(30_000, 30_000))
    with pytest.raises(SourceError, match="30000 x 30000 pixels, which no camera has"):
        open_recording(path)


def test_huge_files_in_the_layout_of_nmnist_are_not_read(tmp_path):
    path = tmp_path / "a.bin"
    path.touch()
    os.truncate(path, MAX_NMNIST_BYTES + 5)
    with pytest.raises(SourceError, match=f"{MAX_NMNIST_BYTES + 5} bytes"):
        open_recording(path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    path = write_nmnist(tmp_path / "a.bin", moving_edge())

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(SourceError, match=r"a\.bin cannot be read .*Permission denied"):
        open_recording(path)


def test_without_the_extra_a_line_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for name in WRITERS:
        path = tmp_path / name
        if name == "a.bin":
            recordings.require_reader(path)
            continue
        with pytest.raises(RuntimeUnavailableError, match=r"pip install 'spyv4\[events\]'"):
            recordings.require_reader(path)
    recordings.require_reader(tmp_path / "clip.mp4")
