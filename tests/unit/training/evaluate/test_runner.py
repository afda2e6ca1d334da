from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from spyv4 import Detector, ModelConfig, ReadOptions, SPYv4
from tests.unit.detector_app.lively import lively_detector
from training.data.voc import AnnotatedImage
from training.errors import DatasetError
from training.evaluate.evaluation import evaluate_detector
from training.evaluate.runner import EVALUATION, run_detector

ALL = replace(EVALUATION, score_threshold=0.0)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return Detector.from_model(SPYv4(ModelConfig(width_multiple=1 / 8, image_size=(64, 64))))


@pytest.fixture
def images(tmp_path):
    generator = np.random.default_rng(0)
    annotated = []
    for index in range(3):
        path = tmp_path / f"{index}.jpg"
        pixels = generator.integers(0, 256, (50 + index, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        annotated.append(AnnotatedImage(str(index), path, (50 + index, 70), ()))
    return annotated


def test_one_pass_gives_what_every_number_of_reads_gives_alone(detector, images):
    both = run_detector(detector, images, (1, 3), options=ALL, batch_size=2)
    for reads in (1, 3):
        alone = run_detector(detector, images, (reads,), options=ALL, batch_size=2)[reads]
        assert len(alone.predictions) > 0
        assert (alone.predictions.boxes_xyxy == both[reads].predictions.boxes_xyxy).all()
        assert alone.firing_rate == both[reads].firing_rate


def test_detections_rates_and_picture_order_are_the_detectors_own(detector, images):
    result = run_detector(detector, images, (2,), options=ALL, batch_size=1)[2]
    rates = []
    for index, image in enumerate(images):
        reads = detector.reads(
            image.image_path,
            2,
            score_threshold=0,
            iou_threshold=0.5,
            max_detections=1000,
            activity=True,
        )
        found = list(reads)
        rates.append([list(item.firing_rates.values()) for item in found])
        rows = result.predictions.image_indices == index
        assert rows.sum() > 100  # more than a person is shown
        assert (result.predictions.boxes_xyxy[rows] == found[-1].boxes_xyxy).all()
        assert (result.predictions.labels[rows] == found[-1].labels).all()
    assert result.firing_rates == pytest.approx(np.mean(rates, axis=0))
    assert result.firing_rate == pytest.approx(np.mean(rates))
    assert result.message_rates.shape == result.firing_rates.shape == (2, 19)
    assert (result.message_rates[:, 0] == 1).all()  # pixels
    # A layer that is another's only input sends what that one receives.
    assert result.message_rates[:, 1] == pytest.approx(result.firing_rates[:, 0])
    assert result.ms_per_image > 0


def test_more_reads_take_longer(detector, images):
    results = run_detector(detector, images, (1, 16))
    assert results[16].ms_per_image > results[1].ms_per_image


def test_a_damaged_picture_is_named(detector, images):
    path = images[1].image_path
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DatasetError, match=str(path)):
        run_detector(detector, images, (1,))


def test_auto_is_what_the_detector_does_picture_by_picture(images):
    """Where it stops is decided by the boxes as shown; those kept are by the thresholds of mAP."""
    detector = lively_detector()
    rule = ReadOptions("auto", 0.62, agree_iou=0.5, agree_score=0.1, agree_margin=0.1, max_reads=5)
    easy = replace(rule, agree_margin=1.0)
    auto = {"rule": rule, "easy": easy}
    results = run_detector(detector, images, (1, 3), auto=auto, options=ALL, batch_size=2)
    taken = []
    shown = {"score_threshold": 0.62, "agree_iou": 0.5, "agree_score": 0.1, "agree_margin": 0.1}
    for index, image in enumerate(images):
        taken.append(detector.detect(image.image_path, "auto", max_reads=5, **shown).reads)
        kept = {name: getattr(ALL, name) for name in ("score_threshold", "iou_threshold")}
        *_, alone = detector.reads(
            image.image_path, taken[-1], max_detections=1000, activity=True, **kept
        )
        rows = results["rule"].predictions.image_indices == index
        np.testing.assert_allclose(
            results["rule"].predictions.boxes_xyxy[rows], alone.boxes_xyxy, atol=1e-2
        )
    assert len(set(taken)) > 1, taken
    assert results["rule"].mean_reads == pytest.approx(np.mean(taken))
    assert (results["easy"].mean_reads, results[3].mean_reads) == (2.0, 3.0)
    fixed = run_detector(detector, images, (2,), options=ALL, batch_size=2)[2]
    assert (results["easy"].predictions.scores == fixed.predictions.scores).all()
    assert results["easy"].firing_rates == pytest.approx(fixed.firing_rates)
    assert results["easy"].firing_rate == pytest.approx(fixed.firing_rate)


def test_what_auto_takes_is_the_mean_of_what_the_pictures_take(images):
    """Firing rates, time and operations count for a picture as long as it is looked at."""
    detector = lively_detector()
    rule = ReadOptions("auto", 0.62, agree_iou=0.5, agree_score=0.1, agree_margin=0.1, max_reads=5)
    evaluation = evaluate_detector(detector, images, (), auto={"auto": rule})
    scores = evaluation.scores[evaluation.usual]
    taken, spikes, energy, rates = [], [], [], []
    for image in images:
        options = {name: getattr(rule, name) for name in ("agree_iou", "agree_score")}
        options |= {"agree_margin": 0.1, "max_reads": 5, "score_threshold": 0.62}
        found = list(detector.reads(image.image_path, "auto", activity=True, **options))
        taken.append(len(found))
        spikes.append(found[-1].operations["spikes"])
        energy.append(found[-1].operations["energy_mj"])
        rates += [np.mean(list(each.firing_rates.values())) for each in found]
    assert len(set(taken)) > 1, taken
    assert scores.mean_reads == pytest.approx(np.mean(taken))
    assert scores.operations.network.spikes == pytest.approx(np.mean(spikes), rel=1e-4)
    assert scores.operations.network.energy_mj == pytest.approx(np.mean(energy), rel=1e-4)
    assert scores.firing_rate == pytest.approx(np.mean(rates), rel=1e-4)
    assert scores.ms_per_image > 0
