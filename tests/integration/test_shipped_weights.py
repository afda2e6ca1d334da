"""The shipped weights on real photographs."""

from pathlib import Path

import pytest
import torch

from detector_app.demo import SHOT_FRAMES, DemoSource
from spyv4 import Detections, Detector, shipped_weights
from spyv4.checkpoint import file_sha256
from spyv4.heads.boxes import iou
from spyv4.weights import find_weights, load_weights
from tests.helpers.demo_view import OBJECTS, Box, demo_views

LEAST = 0.9  # share of the frames that show an object whole in which it must be found
DOG = Path(__file__).parents[3] / "shared" / "data" / "photos" / "dog.jpg"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load(device="cpu")


def finds(result: Detections, name: str, box: Box) -> bool:
    goal = torch.tensor(box)
    found = torch.from_numpy(result.boxes_xyxy)
    close = (iou(found, goal) >= 0.5).tolist()
    return any(n == name and near for n, near in zip(result.names, close, strict=True))


def test_manifest_holds_the_checksum_of_every_file() -> None:
    for name in shipped_weights():
        load_weights(name)  # compares the checksum
        assert len(file_sha256(find_weights(name))) == 64


@pytest.mark.parametrize("name", ["person", "cat", "motorbike"])
def test_demo_objects_are_found_at_the_defaults_where_they_are_shown_whole(
    detector: Detector, name: str
) -> None:
    source = DemoSource()
    every = range(0, SHOT_FRAMES * len(OBJECTS), 4)
    views = zip(every, demo_views(every), strict=True)
    whole = [(i, view.box) for i, view in views if view.whole and view.class_name == name]
    assert len(whole) >= 5
    found = sum(finds(detector.detect(source.frame(i)), name, box) for i, box in whole)
    assert found >= LEAST * len(whole), f"found in {found} of {len(whole)} frames"


@pytest.mark.data
@pytest.mark.skipif(not DOG.is_file(), reason="needs the photographs of ../shared/data")
def test_dog_of_the_photograph_is_found(detector: Detector) -> None:
    result = detector.detect(DOG)
    assert finds(result, "dog", Box(128, 220, 312, 540))
