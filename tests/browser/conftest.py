"""The live page of a tiny detector, open in Chromium; any console error fails."""

import pytest

from detector_app.http.app import create_app
from detector_app.settings import Settings
from tests.browser.chromium import CHROMIUM, launched
from tests.unit.detector_app.lively import lively_detector
from tests.unit.detector_app.serving import serving


@pytest.fixture(scope="module")
def chromium():
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def app():
    return create_app(Settings(reads=3), lively_detector())


@pytest.fixture(scope="module")
def url(app):
    with serving(app) as address:
        yield address


@pytest.fixture
def open_page(chromium, url):
    """Opens the page in a viewport of so many CSS pixels, each `scale` device pixels wide."""
    pages, problems = [], []

    def open_(width, height, scale=1, *, address="", tour=False, **more):
        size = {"width": width, "height": height}
        made = chromium.new_page(viewport=size, device_scale_factor=scale, **more)
        if not tour:
            made.add_init_script("localStorage.setItem('spyv4-tour-seen', 'yes')")
        pages.append(made)
        made.set_default_timeout(15_000)
        made.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        made.on("pageerror", lambda error: problems.append(str(error)))
        made.goto(url + address)
        return made

    yield open_
    for made in pages:
        made.close()
    assert problems == []


@pytest.fixture
def page(open_page):
    return open_page(1440, 900)
