"""All spikes of a picture: the same that the network sends, and the same again from a file."""

import zipfile

import numpy as np
import pytest
import torch

from spyv4 import LAYER_NAMES, Detector, load_spikes
from spyv4.errors import (
    ArgumentError,
    ConfigError,
    ImageError,
    RuntimeUnavailableError,
    SpikeFileError,
)
from spyv4.network.readout import ReadoutState
from spyv4.options import ReadOptions
from spyv4.preprocess import stretch, to_images
from spyv4.recording import Recorder
from spyv4.runtime.torch_runtime import TorchRuntime
from spyv4.spikes import FORMAT
from tests.helpers.tiny_model import tiny_model

READS = 3
SPIKING = ["ltc", "adaptive-ltc", "lif", "adaptive-lif"]


def picture(seed: int = 0, size: tuple[int, int] = (48, 80)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def finding(model) -> Detector:
    """A detector that finds something everywhere."""
    with torch.no_grad():
        for head in model.heads:
            head.bias.zero_()
    return Detector.from_model(model)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return finding(tiny_model(readout="leaky"))


@pytest.fixture(scope="module")
def record(detector):
    return detector.spikes(picture(), reads=READS, potentials="float32")


@pytest.fixture
def path(record, tmp_path):
    record.save(tmp_path / "a.npz")
    return tmp_path / "a.npz"


def by_hand(detector, frame, reads, state=None):
    """Spikes and potentials of every read and layer, and the last state."""
    model = detector.runtime.model
    images = to_images(stretch([frame], detector.image_size))
    state = state or model.initial_state(1, detector.image_size)
    spikes, potentials = [], []
    with torch.inference_mode():
        for _ in range(reads):
            _, state, sent = model.step_from_current(model.current(images), state)
            spikes.append({name: tensor[0].numpy() for name, tensor in sent.items()})
            potentials.append({name: layer.u[0].numpy() for name, layer in state.layers.items()})
    return spikes, potentials, state


@pytest.mark.parametrize("kind", SPIKING)
def test_spikes_and_potentials_are_those_of_the_model_stepped_by_hand(kind):
    detector = Detector.from_model(tiny_model(neuron={"kind": kind}))
    found = detector.spikes(picture(), reads=READS, potentials="float32")
    spikes, potentials, _ = by_hand(detector, picture(), READS)
    assert tuple(found) == tuple(found.shapes) == tuple(found.potentials) == LAYER_NAMES
    for name in LAYER_NAMES:
        assert found[name].dtype == np.uint8
        assert found[name].shape == found.potentials[name].shape
        for read in range(READS):
            np.testing.assert_array_equal(found[name][read], spikes[read][name])
            np.testing.assert_array_equal(found.potentials[name][read], potentials[read][name])
    assert any(0 < found[name].mean() < 1 for name in LAYER_NAMES)


def test_sums_are_the_firing_rates_that_activity_reports(detector, record):
    told = list(detector.reads(picture(), reads=READS, activity=True))
    for read, one in enumerate(told):
        rates = {name: record[name][read].mean() for name in record}
        assert rates == pytest.approx(one.firing_rates, abs=1e-6)
    assert sum(told[-1].firing_rates.values()) > 0


def test_what_spiked_was_reset(record):
    for name, u in record.potentials.items():
        assert (u[record[name] == 1] == 0).all()
        assert (u <= 1).all()


def test_boxes_are_those_of_every_read(detector, record):
    assert record.reads == len(record.detections) == READS
    for kept, found in zip(record.detections, detector.reads(picture(), reads=READS), strict=True):
        assert kept.to_list() == found.to_list() != []
        assert (kept.reads, kept.image_size) == (found.reads, (48, 80))
    assert (record.image_size, record.config) == ((64, 64), detector.config)
    assert record.runtime == detector.runtime.description


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
    detector.spikes(picture(), reads=2, score_threshold=1.0).save(tmp_path / "a.npz")
    loaded = load_spikes(tmp_path / "a.npz")
    assert [len(found) for found in loaded.detections] == [0, 0]
    assert loaded.potentials == {}
    assert loaded["deep"].shape == (2, *loaded.shapes["deep"])


def test_small_potentials_are_rounded_and_large_ones_refused(record):
    model = tiny_model()
    half = finding(tiny_model(readout="leaky")).spikes(picture(), reads=READS, potentials="float16")
    for name, u in half.potentials.items():
        assert u.dtype == np.float16
        np.testing.assert_array_equal(u, record.potentials[name].astype(np.float16))
    with torch.no_grad():
        model.layers["csp1_a"].synapse.norm.bias.fill_(-1e6)
    large = Detector.from_model(model)
    with pytest.raises(ArgumentError, match=r"potentials of csp1_a reach .* ask for float32"):
        large.spikes(picture(), potentials="float16")
    assert large.spikes(picture(), potentials="float32").potentials["csp1_a"].min() < -1e5


def test_bfloat16_is_kept_exactly():
    detector = Detector.from_model(tiny_model(), precision="bfloat16")
    found = detector.spikes(picture(), reads=1, potentials="float32")
    for u in found.potentials.values():
        assert u.dtype == np.float32
        assert (torch.from_numpy(u).bfloat16().float().numpy() == u).all()


def test_looking_ends_as_ever(detector):
    assert detector.spikes(picture(), "auto", max_reads=4).reads == (
        detector.detect(picture(), "auto", max_reads=4).reads
    )
    assert detector.spikes(picture()).reads == detector.config.reads
    seeded = detector.spikes(picture(), 1, start_seed=3)
    assert (seeded["stem1"] != detector.spikes(picture(), 1)["stem1"]).any()


def test_state_is_carried_from_frame_to_frame_or_not(detector):
    frames = [picture(1), picture(2)]
    spikes, _, state = by_hand(detector, frames[0], 2)
    assert isinstance(state.readout, ReadoutState)
    for carry, start in ((True, state), (False, None)):
        options = ReadOptions(reads=2, carry_state=carry)
        first, second = Recorder(detector.runtime, detector.image_size, options).stream(frames)
        after, _, _ = by_hand(detector, frames[1], 2, start)
        for name in LAYER_NAMES:
            np.testing.assert_array_equal(first[name], [read[name] for read in spikes])
            np.testing.assert_array_equal(second[name], [read[name] for read in after])


def test_who_does_not_show_spikes_says_so(detector):
    class Other:
        config, description = detector.config, "ONNX Runtime, CPUExecutionProvider"

    with pytest.raises(RuntimeUnavailableError, match=r"not by ONNX Runtime.*--runtime torch"):
        Detector(Other()).spikes(picture())
    twin = Detector.from_model(tiny_model(neuron={"kind": "leaky-relu"}))
    with pytest.raises(ArgumentError, match="twin"):
        twin.spikes(picture())


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own use of it
def test_a_compiled_network_is_refused(monkeypatch):
    monkeypatch.setattr("spyv4.runtime.torch_runtime.can_compile", lambda: True)
    runtime = TorchRuntime(tiny_model(), torch.device("cpu"), compile_step=True)
    with pytest.raises(RuntimeUnavailableError, match="not compiled"):
        Detector(runtime).spikes(picture())


def test_wrong_arguments_are_named(detector, tmp_path):
    with pytest.raises(ArgumentError, match=r"potentials must be float16 or float32.*'float64'"):
        detector.spikes(picture(), potentials="float64")
    with pytest.raises(ConfigError, match="reads"):
        detector.spikes(picture(), reads=0)
    with pytest.raises(ImageError, match=r"none\.jpg"):
        detector.spikes(tmp_path / "none.jpg")


def test_not_one_bit_of_a_file_may_change_unnoticed(detector, tmp_path):
    path = tmp_path / "a.npz"
    record = detector.spikes(picture(), reads=2)
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
