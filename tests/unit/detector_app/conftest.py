import pytest

from detector_app.pipeline import Pipeline
from spyv4 import Detector
from tests.unit.detector_app.lively import lively_detector
from tests.unit.detector_app.running import OPTIONS
from tests.unit.detector_app.scripted import ScriptedSource


@pytest.fixture(scope="session")
def detector() -> Detector:
    return lively_detector()


@pytest.fixture
def source():
    return ScriptedSource()


@pytest.fixture
def pipeline(detector, source):
    made = Pipeline(detector, source, OPTIONS, queue_size=2)
    made.start()
    yield made
    source.end()
    made.stop()
