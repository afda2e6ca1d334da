"""A record of all spikes: those that the network sends, and boxes as ever."""

import numpy as np
import pytest
import torch

from spyv4 import LAYER_NAMES, Detector
from spyv4.errors import (
    ArgumentError,
    ConfigError,
    ImageError,
    RuntimeUnavailableError,
)
from spyv4.network.readout import ReadoutState
from spyv4.options import ReadOptions
from spyv4.preprocess import stretch, to_images
from spyv4.recording import Recorder
from tests.helpers.tiny_model import tiny_model
from tests.unit.detector_app.lively import lively_detector

READS = 3
SPIKING = ["ltc", "adaptive-ltc", "lif", "adaptive-lif"]


def picture(seed: int = 0, size: tuple[int, int] = (48, 80)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return lively_detector(readout="leaky")


@pytest.fixture(scope="module")
def record(detector):
    return detector.spikes(picture(), reads=READS, potentials="float32")


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


def test_small_potentials_are_rounded_and_large_ones_refused(record):
    model = tiny_model()
    half = lively_detector(readout="leaky").spikes(picture(), reads=READS, potentials="float16")
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


def test_a_compiled_step_is_done_without_and_said_to_be(record):
    class Compiled:
        def step(self, *_, activity):
            raise AssertionError("a compiled step shows no spikes")

    detector = lively_detector(readout="leaky")
    detector.runtime.use(Compiled())
    again = detector.spikes(picture(), reads=READS)
    assert again.runtime == record.runtime != detector.runtime.description
    assert all((again[name] == record[name]).all() for name in LAYER_NAMES)
    with pytest.raises(AssertionError):
        detector.detect(picture())


def test_wrong_arguments_are_named(detector, tmp_path):
    with pytest.raises(ArgumentError, match=r"potentials must be float16 or float32.*'float64'"):
        detector.spikes(picture(), potentials="float64")
    with pytest.raises(ConfigError, match="reads"):
        detector.spikes(picture(), reads=0)
    with pytest.raises(ImageError, match=r"none\.jpg"):
        detector.spikes(tmp_path / "none.jpg")
