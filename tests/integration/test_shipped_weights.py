"""The shipped weights on real photographs."""

from pathlib import Path

import pytest

from detector_app.demo import PHOTOGRAPHS, SHOT_FRAMES, DemoSource
from spyv4 import Detections, Detector, shipped_weights
from spyv4.checkpoint import file_sha256
from spyv4.weights import find_weights, load_weights

SCORE = 0.3
DOG = Path(__file__).parents[3] / "shared" / "data" / "photos" / "dog.jpg"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load(device="cpu")


def finds(result: Detections, name: str) -> bool:
    return any(n == name and s >= SCORE for n, s in zip(result.names, result.scores, strict=True))


def test_manifest_holds_the_checksum_of_every_file() -> None:
    for name in shipped_weights():
        load_weights(name)  # compares the checksum
        assert len(file_sha256(find_weights(name))) == 64


@pytest.mark.parametrize("name", ["person", "cat"])
def test_demo_objects_are_found_in_most_frames_that_show_them_whole(
    detector: Detector, name: str
) -> None:
    source = DemoSource()
    views = ((index, source.view(index)) for index in range(0, SHOT_FRAMES * len(PHOTOGRAPHS), 4))
    whole = [i for i, v in views if v.whole and v.photograph.class_name == name]
    assert len(whole) >= 5
    found = sum(
        finds(detector.detect(source.frame(i), 4, score_threshold=SCORE), name) for i in whole
    )
    assert found >= len(whole) / 2, f"found in {found} of {len(whole)} frames"


@pytest.mark.data
@pytest.mark.skipif(not DOG.is_file(), reason="needs the photographs of ../shared/data")
def test_dog_of_the_photograph_is_found(detector: Detector) -> None:
    assert finds(detector.detect(DOG, 4, score_threshold=SCORE), "dog")
