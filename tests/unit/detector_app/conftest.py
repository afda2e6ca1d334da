import cv2
import pytest

from detector_app.stream.demo import DemoSource
from detector_app.stream.hub import Hub
from detector_app.stream.scheduler import Scheduler
from spyv4 import Detector
from tests.helpers.clips import write_clip
from tests.unit.detector_app.lively import lively_detector
from tests.unit.detector_app.scripted import ScriptedSource


@pytest.fixture(scope="session")
def detector() -> Detector:
    return lively_detector()


@pytest.fixture
def source():
    return ScriptedSource()


@pytest.fixture
def scheduler(detector):
    made = Scheduler(detector)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def hub(detector, source):
    made = Hub(detector, [source])
    made.start()
    yield made
    source.end()
    made.stop()


@pytest.fixture
def tiny(detector, monkeypatch):
    """The commands load the tiny model."""
    monkeypatch.setattr(Detector, "load", lambda *_args, **_options: detector)


@pytest.fixture
def clip(tmp_path):
    """Seven frames of 64 x 48 pixels at 12.5 a second."""
    return write_clip(tmp_path / "in" / "clip.mp4", frames=7)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(folder / name), DemoSource().frame(0))
    return folder
