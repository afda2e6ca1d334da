"""One running server for the tests of a module."""

import cv2
import httpx
import pytest

from detector_app.client import Client
from detector_app.http.app import create_app
from detector_app.settings import Settings
from detector_app.stream.demo import DemoSource
from spyv4.checkpoint import save_model
from tests.helpers.clients import awaited
from tests.helpers.tiny_model import tiny_model
from tests.unit.detector_app.lively import lively_detector
from tests.unit.detector_app.serving import serving

SETTINGS = Settings(max_body_mb=2, queue_size=2)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """A file of tiny weights, for commands that are processes of their own."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(tiny_model(), path)
    return path


@pytest.fixture(scope="module")
def detector():
    return lively_detector()


@pytest.fixture(scope="module")
def app(detector):
    return create_app(SETTINGS, detector)


@pytest.fixture(scope="module")
def url(app):
    with serving(app) as address:
        yield address


@pytest.fixture(scope="module")
def client(url):
    with httpx.Client(base_url=url, timeout=30) as made:
        yield made


@pytest.fixture(scope="module")
def jpeg():
    return cv2.imencode(".jpg", DemoSource().frame(0))[1].tobytes()


@pytest.fixture(params=[Client, awaited], ids=["sync", "async"])
def kind(request):
    """A client, for threads or for asyncio."""
    return request.param


@pytest.fixture
def asking(kind, url):
    """A client of the server at `url`."""
    with kind(url) as made:
        yield made
