import pytest

from spyv4 import Detector
from tests.unit.detector_app.lively import lively_detector


@pytest.fixture(scope="session")
def detector() -> Detector:
    return lively_detector()
