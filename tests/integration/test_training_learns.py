"""What a run has learned, the detector finds."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spyv4 import Detector
from spyv4.heads.boxes import iou
from spyv4.validation import to_mapping
from tests.helpers.voc_tree import CLASS_NAMES
from tests.integration.training_runs import PICTURES, draw_pictures, recipe, train, trainer
from training.data import AnnotatedImage, read_split
from training.runs import WEIGHTS


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


def finds(detector: Detector, shown: AnnotatedImage) -> bool:
    """Whether the thing on a picture is found, as what it is."""
    (thing,) = shown.objects
    found = detector.detect(shown.image_path, 2, score_threshold=0.2)
    overlaps = iou(torch.from_numpy(found.boxes_xyxy), torch.tensor(thing.box_xyxy)).tolist()
    return any(
        name == thing.class_name and overlap >= 0.5
        for name, overlap in zip(found.names, overlaps, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("neuron", [{}, {"kind": "adaptive-ltc"}, {"fusion": "concat"}])
def test_what_the_loss_learns_the_detector_finds(
    root: Path, tmp_path: Path, neuron: dict[str, Any]
) -> None:
    """A hundred or two looks at thirteen pictures; before them, it finds nothing on any."""
    model = to_mapping(recipe().model)
    config = recipe(
        epochs=200 if neuron else 100,
        batch_size=PICTURES,
        model={"neuron": model["neuron"] | neuron},
        learner={"kind": "plain", "gradient_clip": 5.0},
        optimizer={"name": "adamw", "learning_rate": 1e-2},
    )
    run = trainer(root, tmp_path, config, augment=False)
    reports = train(run)
    first, last = reports[0], reports[-1]
    assert last.loss < 0.5 * first.loss
    assert (last.terms[:3] < first.terms[:3]).all()  # there is no teacher
    assert 0.01 < last.firing_rate < 0.6
    detector = Detector.load(tmp_path / WEIGHTS, precision="float32")
    shown = read_split(root, "VOC2012:train", CLASS_NAMES)
    assert sum(finds(detector, picture) for picture in shown) >= 8
