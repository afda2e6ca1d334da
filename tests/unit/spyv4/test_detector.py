from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from spyv4 import LAYER_NAMES, Detector
from spyv4.activity import RASTER_NEURONS
from spyv4.checkpoint import save_model
from spyv4.energy import compare
from spyv4.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
    ImageError,
    SPYv4Error,
    StateShapeError,
)
from spyv4.heads.decode import decode
from spyv4.options import ReadOptions
from spyv4.preprocess import boxes_to_picture, stretch, to_images
from spyv4.runtime.base import StepResult
from tests.helpers.looking import ANY, assert_same, frame
from tests.helpers.tiny_model import tiny_model


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.from_model(tiny_model())


def test_detecting_is_preprocess_reads_and_decode(detector: Detector) -> None:
    found = detector.detect(frame(), reads=3, **ANY)
    network = tiny_model()
    with torch.no_grad():
        maps, _ = network.run(to_images(stretch([frame()], (64, 64))), 3)
    (raw,) = decode(maps, network.config, ReadOptions(score_threshold=0.002))
    np.testing.assert_allclose(found.scores, raw.scores, atol=1e-4)
    np.testing.assert_allclose(
        found.boxes_xyxy, boxes_to_picture(raw.boxes_xyxy, (64, 64), (50, 70)), atol=1e-2
    )
    assert len(found) > 3
    assert found.reads == 3
    assert found.image_size == (50, 70)
    assert found.class_names == network.config.class_names
    assert found.names == [found.class_names[label] for label in found.labels]
    assert dict(found.firing_rates) == {}
    assert dict(found.rasters) == {}
    assert all(found.timings_ms[part] > 0 for part in ("preprocess", "network", "decode"))


def test_all_kinds_of_pictures_give_the_same(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "noise.png"
    cv2.imwrite(str(path), frame())
    expected = detector.detect(frame(), **ANY)
    assert expected.reads == detector.config.reads == 2
    for picture in (path, str(path), path.read_bytes(), Image.open(path)):
        assert_same(detector.detect(picture, **ANY), expected)


def test_list_gives_a_list_as_one_by_one(detector: Detector) -> None:
    pictures: list[Any] = [frame(1), frame(2, (64, 64)), frame(3, (200, 31))]
    found = detector.detect(pictures, reads=2, **ANY)
    assert isinstance(found, list)
    for one, picture in zip(found, pictures, strict=True):
        assert_same(one, detector.detect(picture, reads=2, **ANY))
    with pytest.raises(ArgumentError, match="no pictures"):
        detector.detect([])


def test_reads_come_one_by_one_and_end_with_the_answer(detector: Detector) -> None:
    partial = list(detector.reads(frame(), reads=4, **ANY))
    assert [p.reads for p in partial] == [1, 2, 3, 4]
    for count, found in enumerate(partial, start=1):
        assert_same(found, detector.detect(frame(), reads=count, **ANY))
    network = [p.timings_ms["network"] for p in partial]
    assert network == sorted(network)
    batches = [
        read.detections
        for read in detector.read_batch([frame(1), frame(2)], detector.options(2, **ANY))
    ]
    assert [[p.reads for p in batch] for batch in batches] == [[1, 1], [2, 2]]


def test_reads_may_be_left_at_any_time(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    step, steps = detector.runtime.step, []

    def counted(*arguments: Any, **options: Any) -> StepResult:
        steps.append(1)
        return step(*arguments, **options)

    monkeypatch.setattr(detector.runtime, "step", counted)
    reads = detector.reads(frame(), reads=256)
    for number in (1, 2):
        assert next(reads).reads == number == len(steps)


def test_stream_starts_every_frame_from_rest(detector: Detector) -> None:
    frames = [frame(1), frame(2), frame(1)]
    found = list(detector.stream(frames, reads=2, **ANY))
    for one, picture in zip(found, frames, strict=True):
        assert_same(one, detector.detect(picture, reads=2, **ANY))


def test_stream_can_carry_the_state_over(detector: Detector) -> None:
    """Three times one read of the same frame is three reads of it."""
    carried = list(detector.stream([frame()] * 3, reads=1, carry_state=True, **ANY))
    for one, other in zip(carried, detector.reads(frame(), reads=3, **ANY), strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.reads == 1
    fresh = list(detector.stream([frame()] * 2, reads=1, **ANY))
    np.testing.assert_array_equal(fresh[0].scores, fresh[1].scores)
    assert not np.array_equal(carried[0].scores, carried[1].scores)


def test_two_streams_do_not_share_their_state(detector: Detector) -> None:
    one = detector.stream([frame(1)] * 3, reads=1, carry_state=True, **ANY)
    other = detector.stream([frame(2)] * 3, reads=1, carry_state=True, **ANY)
    mixed = [pair[0] for pair in zip(one, other, strict=True)]
    alone = list(detector.stream([frame(1)] * 3, reads=1, carry_state=True, **ANY))
    for a, b in zip(mixed, alone, strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": -0.1}, "score_threshold must be at least 0, not -0.1"),
        ({"score_threshold": float("nan")}, "score_threshold"),
        ({"iou_threshold": 1.1}, "iou_threshold must be at most 1, not 1.1"),
        ({"max_detections": 0}, "max_detections must be at least 1, not 0"),
        ({"raster_layers": ["stem9"]}, "unknown layer 'stem9'; choose from: stem1, stem2"),
    ],
)
def test_options_out_of_range_are_named(
    detector: Detector, options: dict[str, Any], message: str
) -> None:
    for call in (detector.detect, detector.reads, lambda f, **o: detector.stream([f], **o)):
        with pytest.raises(SPYv4Error, match=message):
            call(frame(), **options)


def test_reads_out_of_range_are_named(detector: Detector) -> None:
    for reads in (0, 257, -1):
        with pytest.raises(ConfigError, match=f"reads must be at (least 1|most 256), not {reads}"):
            detector.detect(frame(), reads=reads)
    with pytest.raises(ImageError):
        detector.detect(b"no picture")


def test_options_do_what_they_say(detector: Detector) -> None:
    everything = detector.detect(frame(), score_threshold=0.0, iou_threshold=1.0)
    assert len(everything) == 100
    assert len(detector.detect(frame(), score_threshold=0.0, max_detections=7)) == 7
    high = detector.detect(frame(), score_threshold=float(everything.scores[5]))
    assert (high.scores >= everything.scores[5]).all()
    assert len(detector.detect(frame(), score_threshold=0.0, iou_threshold=0.0)) < 100


def test_score_threshold_is_that_of_the_weights_unless_one_is_given() -> None:
    lowest = Detector.from_model(tiny_model(score_threshold=0.0))
    everything = lowest.detect(frame(), 2).scores
    middle = float(np.median(everything))
    chosen = Detector.from_model(tiny_model(score_threshold=middle))
    assert 0 < len(chosen.detect(frame(), 2)) < len(everything)
    assert chosen.detect(frame(), 2).scores.min() >= middle
    assert len(chosen.detect(frame(), 2, score_threshold=None)) < len(everything)
    assert len(chosen.detect(frame(), 2, score_threshold=0.0)) == len(everything)


def test_activity_and_rasters_are_opt_in(detector: Detector) -> None:
    found = list(
        detector.reads(frame(), 3, activity=True, raster_layers=["csp2_a", "stem1"], **ANY)
    )
    for one in found:
        assert tuple(one.firing_rates) == LAYER_NAMES == detector.layer_names
        assert all(0 <= rate <= 1 for rate in one.firing_rates.values())
        assert set(one.rasters) == {"csp2_a", "stem1"}
        raster = one.rasters["stem1"]
        assert (raster.shape, raster.dtype) == ((RASTER_NEURONS,), np.bool_)
    assert sum(found[-1].firing_rates.values()) > 0
    assert any(raster.any() for one in found for raster in one.rasters.values())
    last = detector.detect(frame(), 3, activity=True, **ANY)
    assert last.firing_rates == found[-1].firing_rates
    assert dict(last.rasters) == {}
    only = detector.detect(frame(), 3, raster_layers=["p5"])
    assert dict(only.firing_rates) == {}
    assert_same(last, detector.detect(frame(), 3, **ANY))


def test_firing_rates_of_a_batch_are_each_pictures_own(detector: Detector) -> None:
    dark = np.zeros((64, 64, 3), np.uint8)
    pair = detector.detect([frame(), dark], 2, activity=True)
    for one, picture in zip(pair, (frame(), dark), strict=True):
        alone = detector.detect(picture, 2, activity=True)
        assert one.firing_rates == pytest.approx(alone.firing_rates, abs=1e-4)
    assert pair[0].firing_rates != pair[1].firing_rates


def test_result_as_plain_values(detector: Detector) -> None:
    found = detector.detect(frame(), **ANY)
    rows = found.to_list()
    assert len(rows) == len(found)
    assert rows[0]["class"] == found.names[0]
    assert rows[0]["score"] == pytest.approx(float(found.scores[0]), abs=1e-4)
    assert rows[0]["box"] == pytest.approx(found.boxes_xyxy[0].tolist(), abs=1e-2)


def test_image_size_is_the_detectors_or_the_networks(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_model(tiny_model(), path)
    plain = Detector.load(path, precision="float32")
    assert plain.image_size == (64, 64)
    assert_same(
        plain.detect(frame(), **ANY), Detector.from_model(tiny_model()).detect(frame(), **ANY)
    )
    wide = Detector.load(path, precision="float32", image_size=(64, 128))
    found = wide.detect(frame(), score_threshold=0.0)
    assert found.boxes_xyxy.max() <= 70
    assert Detector.load(path, precision="float32", image_size=96).image_size == (96, 96)
    assert Detector(plain.runtime, image_size=32).image_size == (32, 32)
    with pytest.raises(ConfigError, match="multiples of 32"):
        Detector.load(path, image_size=(64, 65))
    with pytest.raises(ConfigError, match="multiples of 32"):
        Detector.load(path, image_size=0)
    with pytest.raises(CheckpointError, match="neither a file nor"):
        Detector.load(tmp_path / "nothing.safetensors")
    prepared = plain.runtime.prepare(to_images(stretch([frame()], (64, 64))))
    with pytest.raises(StateShapeError):
        plain.runtime.step(prepared, plain.runtime.initial_state(1, (64, 96)))


def test_words_that_are_no_choice_are_named(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    save_model(tiny_model(), path)
    for options, message in (
        ({"device": "gpu"}, "device"),
        ({"precision": "float16"}, "precision"),
        ({"runtime": "tensorrt"}, "runtime"),
    ):
        with pytest.raises(ArgumentError, match=message):
            Detector.load(path, **options)  # type: ignore[arg-type]


def test_words_that_nobody_knows_name_the_closest(detector: Detector) -> None:
    with pytest.raises(ArgumentError, match="no argument 'devise'; did you mean 'device'"):
        Detector.load(devise="cpu")  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match="no argument 'zzz'; it has weights, runtime, device"):
        Detector.load(zzz=1)  # type: ignore[call-arg]
    for call in (detector.detect, detector.reads, detector.options):
        with pytest.raises(ConfigError, match="'score_treshold'; did you mean 'score_threshold'"):
            call(frame(), score_treshold=0.5)  # type: ignore[operator]


def test_only_classes_that_are_asked_for_are_found(detector: Detector) -> None:
    every: Any = ANY | {"max_detections": 10_000}
    everything = detector.detect(frame(), **every)
    name = everything.names[0]
    assert set(everything.names) != {name}
    for classes in (name, [name], (name,)):
        some = detector.detect(frame(), classes=classes, **every)
        assert_same(some, everything.filter(name))
    with pytest.raises(ArgumentError, match="unknown class 'nothing'"):
        detector.stream([], classes=["nothing"])


def test_where_layers_spike_and_what_it_takes(detector):
    """The mean of a heat map is the firing rate, and operations are those of `spyv4.energy`."""
    layers = detector.layer_names
    seen = list(detector.reads(frame(), 3, activity=True, heat_layers=layers, **ANY))
    for result in seen:
        for layer in layers:
            assert result.heat[layer].shape == (4, 4)
            assert result.heat[layer].mean() == pytest.approx(result.firing_rates[layer], abs=1e-6)
    assert any(np.ptp(result.heat[layers[0]]) > 0 for result in seen)
    rates = []
    for read in detector.read_batch([frame()], detector.options(3, activity=True)):
        pair = (read.activity.firing_rates, read.activity.message_rates)
        rates.append([rate[0].double().numpy() for rate in pair])
        firing, messages = np.stack(rates).swapaxes(0, 1)
        taken = compare(detector.config, (64, 64), firing, messages).network
        found = seen[read.number - 1].operations
        assert found["energy_mj"] == pytest.approx(taken.energy_mj)
        assert found["synaptic_operations"] == pytest.approx(taken.synaptic_operations)
    assert detector.detect(frame(), 3, activity=True).operations == {}  # one read of three
    with pytest.raises(ArgumentError, match="unknown layer"):
        detector.detect(frame(), heat_layers=("stem9",))
