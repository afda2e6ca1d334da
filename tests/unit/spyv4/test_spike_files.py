"""Files of spikes: the same again, or refused in a line."""

import zipfile

import numpy as np
import pytest

from spyv4 import LAYER_NAMES, Detector, load_spikes
from spyv4.errors import SpikeFileError
from spyv4.spikes import FORMAT
from tests.unit.detector_app.lively import lively_detector

READS = 3
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return lively_detector(readout="leaky")


@pytest.fixture(scope="module")
def record(detector):
    return detector.spikes(PICTURE, reads=READS, potentials="float32")


@pytest.fixture
def path(record, tmp_path):
    record.save(tmp_path / "a.npz")
    return tmp_path / "a.npz"


def test_a_file_holds_all_of_a_record(record, path):
    loaded = load_spikes(str(path))
    assert tuple(loaded) == LAYER_NAMES
    assert (loaded.shapes, loaded.config) == (record.shapes, record.config)
    assert (loaded.image_size, loaded.runtime) == (record.image_size, record.runtime)
    for name in record:
        np.testing.assert_array_equal(loaded[name], record[name])
        np.testing.assert_array_equal(loaded.potentials[name], record.potentials[name])
        assert loaded.potentials[name].dtype == np.float32
    for one, other in zip(loaded.detections, record.detections, strict=True):
        np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.labels.dtype == other.labels.dtype
        assert (one.to_list(), one.reads) == (other.to_list(), other.reads)
        assert (one.image_size, one.class_names) == (other.image_size, other.class_names)
    with pytest.raises(KeyError):
        loaded["stem3"]


def test_the_same_record_gives_the_same_bytes(record, path, tmp_path):
    load_spikes(path).save(tmp_path / "new" / "b.npz")
    assert (tmp_path / "new" / "b.npz").read_bytes() == path.read_bytes()


def test_nothing_is_found_and_no_potentials_are_wanted(detector, tmp_path):
    detector.spikes(PICTURE, reads=2, score_threshold=1.0).save(tmp_path / "a.npz")
    loaded = load_spikes(tmp_path / "a.npz")
    assert [len(found) for found in loaded.detections] == [0, 0]
    assert loaded.potentials == {}
    assert loaded["deep"].shape == (2, *loaded.shapes["deep"])


def test_not_one_bit_of_a_file_may_change_unnoticed(detector, tmp_path):
    path = tmp_path / "a.npz"
    record = detector.spikes(PICTURE, reads=2)
    record.save(path)
    whole = path.read_bytes()
    refused = 0
    for place in np.random.default_rng(0).choice(len(whole), 300, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            loaded = load_spikes(path)
        except SpikeFileError:
            refused += 1
        else:  # the time of an entry, say, which means nothing
            assert all((loaded[name] == record[name]).all() for name in LAYER_NAMES)
            assert loaded.detections[-1].to_list() == record.detections[-1].to_list()
    assert refused > 200


def test_a_damaged_size_is_found_before_memory_is_taken(path):
    whole, more = path.read_bytes(), b"9" * 12
    assert whole.count(b"'shape': (3, ") > 1
    start, end = whole.split(b"'shape': (3, ", 1)
    shape, rest = end.split(b" " * len(more), 1)
    path.write_bytes(start + b"'shape': (3" + more + b", " + shape + rest)
    with pytest.raises(SpikeFileError, match="is damaged"):
        load_spikes(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_half_a_file_is_refused(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(SpikeFileError, match="not a readable file of spikes"):
        load_spikes(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(SpikeFileError, match="there is no file of spikes at"):
        load_spikes(tmp_path / "none.npz")
    with pytest.raises(SpikeFileError, match="not a readable file"):
        load_spikes(tmp_path)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(SpikeFileError, match=f"not a file of spikes \\({FORMAT}\\)"):
        load_spikes(tmp_path / "other.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(SpikeFileError, match="not a readable file"):
        load_spikes(tmp_path / "objects.npz")


def changed(path, **changes):
    """The file with other arrays, None for none."""
    with np.load(path) as file:
        arrays = {key.replace(".", "_"): key for key in file.files}
        kept = {key: file[key] for key in file.files}
    for name, array in changes.items():
        key = arrays[name]
        kept.pop(key)
        if array is not None:
            kept[key] = array
    np.savez(path, **kept)
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": np.array("spyv4-spikes-9")}, "not a file of spikes"),
        ({"spikes_deep": None}, "spikes.deep"),
        ({"spikes_deep": np.zeros((READS, 1), np.uint8)}, r"spikes\.deep is of shape"),
        ({"potentials_p5": np.zeros((1, 2), np.float32)}, r"potentials\.p5 is of shape"),
        ({"potentials_p5": None}, r"potentials\.p5"),
        ({"scores": np.zeros(1, np.float32)}, "scores is of shape"),
        ({"shapes": np.ones((2, 3), int)}, "not a readable"),
        ({"layer_names": np.array([], "U1")}, "not a readable"),
        ({"image_size": np.array(64)}, "not a readable"),
        ({"config": np.array("{")}, "not a readable"),
        ({"config": np.array('{"width": 1}')}, "unknown configuration key"),
        ({"config": None}, "config"),
    ],
)
def test_files_whose_arrays_do_not_fit_are_refused(path, changes, said):
    with pytest.raises(SpikeFileError, match=said):
        load_spikes(changed(path, **changes))


def test_a_file_that_cannot_be_written_leaves_the_one_before(record, path, monkeypatch):
    before = path.read_bytes()

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "open", full)
    with pytest.raises(OSError, match="No space"):
        record.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]
