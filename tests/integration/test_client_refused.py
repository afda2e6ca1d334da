"""What the clients in Python say where a server refuses, is ill or is not there."""

import json

import httpx
import numpy as np
import pytest

from detector_app.client import AsyncClient, Client
from detector_app.errors import (
    PayloadTooLargeError,
    RefusedAccessError,
    RefusedError,
    UnavailableError,
    UnreachableError,
)
from detector_app.http.app import create_app
from detector_app.settings import Settings
from spyv4.errors import ArgumentError, ImageError
from tests.helpers.scripted_http import EMPTY, Answer, answering
from tests.unit.detector_app.serving import serving

KEY = "an-open-secret-of-tests"


@pytest.mark.parametrize(
    ("image", "asked", "error", "status", "words"),
    [
        (b"hello", {}, ImageError, 415, "not a picture"),
        (None, {"reads": 33}, ArgumentError, 422, "reads: at most 32 are allowed, not 33"),
        (None, {"score_threshold": 1.5}, ArgumentError, 422, "^score_threshold"),
        (bytes(3_000_000), {}, PayloadTooLargeError, 413, "larger than 2 MB"),
    ],
)
def test_a_refusal_is_the_error_of_the_detector_in_the_servers_words(
    asking, jpeg, image, asked, error, status, words
):
    with pytest.raises(error, match=words) as refused:
        asking.detect(image or jpeg, **asked)
    assert isinstance(refused.value, RefusedError)
    assert refused.value.status == status
    assert "\n" not in str(refused.value)


def test_a_key_opens_a_server_that_asks_for_one(kind, detector, jpeg):
    app = create_app(Settings(source="none", api_key=KEY), detector)
    with serving(app) as address:
        with kind(address) as stranger:
            assert stranger.ready() is True
            with pytest.raises(RefusedAccessError, match="asks for its key") as refused:
                stranger.detect(jpeg)
            assert refused.value.status == 401
        with kind(address, api_key=KEY) as known:
            assert known.detect(jpeg, reads=1).reads == 1


def test_an_ill_server_says_how_it_is(kind, url):
    ill = httpx.get(f"{url}/api/health").json() | {"state": "failed"}
    with answering(Answer(503, json.dumps(ill).encode())) as heard, kind(heard.url) as client:
        assert client.health().state == "failed"


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (Answer(502, b"<html>"), RefusedError, "status 502 and no word of why"),
        (Answer(503, b"<html>"), UnavailableError, "status 503 and no word of why"),
        (Answer(500, b"[]"), RefusedError, "status 500 and no word of why"),
        (Answer(200, b"<html>"), RefusedError, "does not answer as SPYv4 does"),
        (Answer(0), UnreachableError, "the connection to http://127.* broke: server disconnected"),
        (Answer(200, EMPTY, delay_s=1), UnreachableError, r"did not answer within 0\.3 s"),
    ],
)
def test_what_is_no_answer_is_said_in_a_line(kind, answer, error, words):
    timeout_s = 0.3 if answer.delay_s else 20
    with answering(answer) as heard, kind(heard.url, timeout_s=timeout_s) as client:
        for ask in (lambda: client.detect(b"a picture"), client.health):
            with pytest.raises(error, match=words) as wrong:
                ask()
            assert type(wrong.value) is error
            assert "\n" not in str(wrong.value)


def test_a_server_that_is_not_there(kind):
    with (
        kind("http://127.0.0.1:9") as client,
        pytest.raises(UnreachableError, match=r"cannot be reached: .*spyv4-serve") as wrong,
    ):
        client.ready()
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("nowhere.jpg", "nowhere.jpg cannot be read: no such file"),
        (np.zeros((4, 4), np.float32), "uint8 or uint16"),
        (None, "cv2.imread returns None"),
    ],
)
def test_a_picture_that_is_none_is_not_sent(kind, image, words):
    with kind("http://127.0.0.1:9") as client, pytest.raises(ImageError, match=words):
        client.detect(image)


@pytest.mark.parametrize(
    ("url", "named", "word"),
    [
        ("127.0.0.1:8000", {}, "url"),
        ("ftp://127.0.0.1", {}, "url"),
        ("http://[::1", {}, "url"),
        ("http://127.0.0.1", {"timeout_s": 0.0}, "timeout_s"),
        ("http://127.0.0.1", {"timeout_s": float("nan")}, "timeout_s"),
        ("http://127.0.0.1", {"retries": -1}, "retries"),
        ("http://127.0.0.1", {"api_key": "a\nb"}, "api_key"),
    ],
)
def test_what_a_client_is_told_is_checked(url, named, word):
    for made in (Client, AsyncClient):
        with pytest.raises(ArgumentError, match=f"^{word} must be"):
            made(url, **named)
