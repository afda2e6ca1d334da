"""Who is let in, and what browsers are told the page may do."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from detector_app.http.app import create_app
from detector_app.settings import Settings
from tests.integration.test_server import detail
from tests.unit.detector_app.serving import serving

KEY = "an-open-secret-of-tests"


@pytest.mark.parametrize("path", ["/", "/detect", "/api/health", "/static/app.js", "/nothing"])
def test_browsers_are_told_what_the_page_may_do(client, path):
    headers = client.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


@pytest.fixture(scope="module")
def locked(detector):
    app = create_app(Settings(source="none", api_key=KEY), detector)
    with serving(app) as address:
        yield address


@pytest.mark.parametrize("path", ["/", "/docs", "/metrics", "/api/live", "/static/app.js"])
@pytest.mark.parametrize("said", [{}, {"X-API-Key": KEY[:-1]}, {"Authorization": f"Basic {KEY}"}])
def test_nothing_is_given_without_the_key(locked, path, said):
    refused = httpx.get(locked + path, headers=said)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "asks for its key" in detail(refused)
    assert refused.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "said", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}, {"Cookie": f"spyv4_key={KEY}"}]
)
def test_the_key_opens(locked, jpeg, said):
    assert httpx.post(f"{locked}/detect", content=jpeg).status_code == 401
    assert httpx.post(f"{locked}/detect", content=jpeg, headers=said).status_code == 200


def test_whether_it_lives_is_no_secret(locked):
    assert httpx.get(f"{locked}/api/health").status_code == 200
    assert httpx.get(f"{locked}/api/ready").status_code == 204


def test_a_browser_brings_the_key_once(locked):
    with httpx.Client(base_url=locked) as browser:
        assert browser.get("/", params={"key": "another-key-of-somebody"}).status_code == 401
        opened = browser.get("/", params={"key": KEY})
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert browser.get("/").status_code == 200
        for text in ("spyv4_key=", 'spyv4_key="', "a=b; =", f"spyv4_key={KEY}x"):
            assert httpx.get(locked, headers={"Cookie": text}).status_code == 401


def test_no_socket_opens_without_the_key(locked):
    address = locked.replace("http", "ws") + "/ws"
    with pytest.raises(InvalidStatus, match="401"), connect(address):
        pass
    with connect(address, additional_headers={"Cookie": f"spyv4_key={KEY}"}) as socket:
        assert json.loads(socket.recv())["type"] == "hello"
