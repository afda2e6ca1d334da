"""Recordings of event cameras as sequences of frames."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from spyv4.errors import RuntimeUnavailableError
from tests.helpers.task_data import gesture_events, write_gestures
from training.errors import DatasetError
from training.tasks import events
from training.tasks.events import CIFAR10, Events, open_cifar10, open_gestures, to_frames

needs_faery = pytest.mark.skipif(
    importlib.util.find_spec("faery") is None, reason="needs the extra events"
)


def some(*rows: tuple[int, int, int, int]) -> Events:
    """Events of rows of time in us, x, y, polarity."""
    return Events(*np.array(rows, dtype=np.int64).T)


def test_frames_are_averages_over_blocks_of_one_duration() -> None:
    """Four blocks of 10 ms: of [0, 39999] us the second begins at 10,000."""
    frames = to_frames(
        some((5, 3, 7, 1), (10_004, 3, 7, 1), (10_005, 3, 7, 1), (40_004, 0, 1, 0)), 4
    )
    assert frames.shape == (4, 2, 128, 128)
    assert frames.dtype == np.float32
    assert frames.sum() == pytest.approx(4)
    assert frames[0, 1, 7, 3] == pytest.approx(2)  # events in 10 ms
    assert frames[1, 1, 7, 3] == pytest.approx(1)
    assert frames[3, 0, 1, 0] == pytest.approx(1)


def test_the_number_of_frames_does_not_change_their_scale() -> None:
    rows = [(1000 * n, 5, 5, 1) for n in range(1000)]
    for count in (10, 100):
        assert to_frames(some(*rows), count)[:, 1, 5, 5].mean() == pytest.approx(10, rel=0.01)


def test_one_event_is_enough() -> None:
    assert to_frames(some((77, 1, 2, 0)), 20)[0, 0, 2, 1] > 0


@pytest.mark.parametrize("inner", [False, True])
def test_gestures_are_read_as_tonic_lays_them_out(tmp_path: Path, inner: bool) -> None:
    folder = write_gestures(tmp_path)
    data = open_gestures(folder / "DVSGesture" if inner else folder, 20)
    assert data.split == "standard: 3 training and 3 test recordings, by person"
    assert data.train.labels.tolist() == [0, 1, 2]
    assert len(data.classes) == 11
    read = data.train.read(torch.tensor([2, 0]), torch.Generator())
    assert read.shape == (20, 2, 2, 128, 128)
    x, y, on, ms = gesture_events(2).astype(np.int64).T
    expected = to_frames(Events(ms * 1000, x, y, on), 20)
    assert read[:, 0].equal(torch.from_numpy(expected))
    assert read[:, 0].nonzero()[:, 3].unique().tolist() == list(range(20, 28))  # of that gesture


def test_missing_gestures_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no ibmGestureTrain.*unpack ibmGestureTrain\.tar\.gz"):
        open_gestures(tmp_path, 20)
    write_gestures(tmp_path)
    (tmp_path / "DVSGesture/ibmGestureTest/user24_led/0.npy").rename(
        tmp_path / "DVSGesture/ibmGestureTest/user24_led/11.npy"
    )
    with pytest.raises(DatasetError, match="named by its class"):
        open_gestures(tmp_path, 20)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 4)), "has no events"),
        (np.zeros((5, 3)), r"is of shape \(5, 3\)"),
        (np.full((5, 4), 128.0), "from 0 to 127 expected"),
        (np.full((5, 4), -1.0), "from 0 to 127 expected"),
        (np.array([[1.0, 1.0, 2.0, 0.0]]), "from 0 to 1 expected"),
    ],
)
def test_damaged_recordings_are_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    data = open_gestures(write_gestures(tmp_path), 4)
    np.save(tmp_path / "DVSGesture/ibmGestureTrain/user01_fluorescent/1.npy", array)
    with pytest.raises(DatasetError, match=words):
        data.train.read(torch.tensor([1]), torch.Generator())


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    data = open_gestures(write_gestures(tmp_path), 4)
    path = tmp_path / "DVSGesture/ibmGestureTrain/user01_fluorescent/1.npy"
    path.write_bytes(b"nonsense")
    with pytest.raises(DatasetError, match=r"1\.npy cannot be read"):
        data.train.read(torch.tensor([1]), torch.Generator())


def write_aedat4(path: Path, label: int) -> None:
    """A recording in AEDAT4 whose events lie in a column that tells the class."""
    import faery
    from faery.file_encoder import events_to_file

    rows = np.zeros(50, dtype=faery.EVENTS_DTYPE)
    rows["t"], rows["x"], rows["y"] = np.arange(50) * 1000, label, np.arange(50)
    rows["on"] = np.arange(50) % 2
    path.parent.mkdir(parents=True, exist_ok=True)
    events_to_file([rows], path, (128, 128))


@needs_faery
def test_cifar10_is_read_and_split_by_number(tmp_path: Path) -> None:
    for label, name in enumerate(CIFAR10):
        for number in (2, 10, 1):
            write_aedat4(tmp_path / "CIFAR10DVS" / name / f"cifar10_{name}_{number}.aedat4", label)
    data = open_cifar10(tmp_path, 5)
    assert (len(data.train), len(data.test)) == (20, 10)
    assert data.split == "ours: the last tenth of each class is tested on (10), 20 learned"
    assert data.test.labels.tolist() == list(range(10))
    assert all(path.stem.endswith("_10") for path in data.test.files)  # type: ignore[attr-defined]
    read = data.test.read(torch.tensor([7]), torch.Generator())
    assert read.shape == (5, 1, 2, 128, 128)
    assert read.nonzero()[:, 4].unique().tolist() == [7]
    data.test.files[0].write_bytes(b"nonsense")  # type: ignore[attr-defined]
    with pytest.raises(DatasetError, match=r"_10\.aedat4 cannot be read"):
        data.test.read(torch.tensor([0]), torch.Generator())


def test_missing_cifar10_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "require_extra", lambda extra, purpose: None)
    with pytest.raises(DatasetError, match=r"airplane has not two .* unpack airplane\.zip"):
        open_cifar10(tmp_path, 20)


def test_without_its_reader_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'spyv4\[events\]'"):
        open_cifar10(tmp_path, 20)
