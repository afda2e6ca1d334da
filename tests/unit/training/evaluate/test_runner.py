from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from spyv4 import Detector, ModelConfig, SPYv4
from training.data.voc import AnnotatedImage
from training.errors import DatasetError
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
