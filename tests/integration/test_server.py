"""The server under a real client, over a real socket."""

import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from socket import create_connection
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from detector_app.http import uploads
from detector_app.http.app import create_app
from detector_app.settings import Settings
from tests.unit.detector_app.running import hold
from tests.unit.detector_app.scripted import wait_until
from tests.unit.detector_app.serving import serving
from tests.unit.detector_app.test_uploads import huge_png


def detail(response):
    """The one line that says what is wrong; nothing internal is in it."""
    text = response.json()["detail"]
    assert isinstance(text, str)
    assert "\n" not in text
    assert not any(word in text for word in ("Traceback", "site-packages", "detector_app"))
    return text


def test_a_raw_body_and_a_form_give_what_the_detector_gives(client, detector, jpeg):
    expected = detector.detect(jpeg, reads=2, score_threshold=0.55, iou_threshold=0.4)
    options = {"reads": 2, "score_threshold": 0.55, "iou_threshold": 0.4}
    raw = client.post("/detect", params=options, content=jpeg)
    form = client.post("/detect", data=options, files={"image": ("a.jpg", jpeg)})
    query = client.post("/detect", params=options, files={"any": ("a.jpg", jpeg)})
    assert raw.status_code == form.status_code == query.status_code == 200
    assert len(expected) > 0
    for response in (raw, form, query):
        body = response.json()
        assert (body["width"], body["height"], body["reads"]) == (640, 480, 2)
        assert [found["class"] for found in body["detections"]] == expected.names
        boxes = np.array([found["box"] for found in body["detections"]]).reshape(-1, 4)
        np.testing.assert_allclose(boxes, expected.boxes_xyxy, atol=0.01)
        assert list(body["firing_rates"]) == list(detector.layer_names)
        assert {"preprocess", "network", "decode", "wait", "total"} == set(body["timings_ms"])
        assert body["per_read"] is None


def test_what_is_not_said_is_as_the_weights_or_the_server_have_it(detector, jpeg):
    for given, expected in ((None, detector.config.score_threshold), (0.0, 0.0)):
        app = create_app(Settings(source="none", score_threshold=given), detector)
        with serving(app) as address:
            found = httpx.post(f"{address}/detect", content=jpeg).json()
        wanted = detector.detect(jpeg, detector.config.reads, score_threshold=expected)
        assert found["reads"] == detector.config.reads
        assert len(found["detections"]) == len(wanted)


def test_every_read_on_request(client, jpeg):
    body = client.post("/detect", params={"per_read": True}, content=jpeg).json()
    assert [read["read"] for read in body["per_read"]] == [1, 2, 3]
    assert body["per_read"][-1]["detections"] == body["detections"]
    assert body["per_read"][0]["firing_rates"] != body["per_read"][1]["firing_rates"]


@pytest.mark.parametrize(
    "options",
    [
        {"reads": 0},
        {"reads": 33},
        {"reads": 10_000},
        {"reads": "many"},
        {"score_threshold": -0.1},
        {"score_threshold": "nan"},
        {"iou_threshold": 1.5},
        {"per_read": "perhaps"},
    ],
)
def test_parameters_out_of_range(client, jpeg, options):
    for response in (
        client.post("/detect", params=options, content=jpeg),
        client.post("/detect", data=options, files={"image": ("a.jpg", jpeg)}),
    ):
        assert response.status_code == 422
        assert detail(response).startswith(next(iter(options)))


def test_a_picture_gets_as_many_reads_as_it_takes(client, detector, jpeg):
    sure, unsure = {"score_threshold": 1.0}, {"score_threshold": 0.5}
    for options in (sure, unsure):
        wanted = detector.detect(jpeg, "auto", **options)
        answers = [
            client.post("/detect", params={"reads": "auto", **options}, content=jpeg),
            client.post(
                "/detect",
                files={"image": ("a.jpg", jpeg)},
                data={"reads": "auto", **{name: str(value) for name, value in options.items()}},
            ),
        ]
        for answer in answers:
            assert answer.json()["reads"] == wanted.reads
            assert len(answer.json()["detections"]) == len(wanted)
    params = {"reads": "auto", "per_read": True, **sure}
    body = client.post("/detect", params=params, content=jpeg).json()
    assert (body["reads"], [read["read"] for read in body["per_read"]]) == (2, [1, 2])


def test_the_limit_of_reads_is_named(client, jpeg):
    assert client.post("/detect", params={"reads": 32}, content=jpeg).json()["reads"] == 32
    refused = client.post("/detect", params={"reads": 33}, content=jpeg)
    assert detail(refused) == "reads: at most 32 are allowed, not 33"


def test_what_is_not_a_picture(client, jpeg):
    response = client.post("/detect", content=b"hello")
    assert response.status_code == 415
    assert "not a picture" in detail(response)
    # Pillow would hand it to Ghostscript.
    response = client.post("/detect", content=b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    assert response.status_code == 415
    assert "JPEG, PNG" in detail(response)
    response = client.post("/detect", content=jpeg[: len(jpeg) // 2])
    assert response.status_code == 415
    assert "cut short" in detail(response)


def test_no_picture_at_all(client):
    for response in (
        client.post("/detect"),
        client.post("/detect", files={"reads": (None, "1")}),
        client.post("/detect", files={"image": ("a.jpg", b"")}),
        client.post("/detect", content=b"x", headers={"content-type": "multipart/form-data"}),
    ):
        assert response.status_code == 400
        assert "picture" in detail(response)


def test_a_body_that_is_too_large_is_refused(client):
    declared = client.post("/detect", content=bytes(3_000_000))
    undeclared = client.post("/detect", content=(bytes(1_000_000) for _ in range(20)))
    form = client.post("/detect", files={"image": ("a.jpg", bytes(3_000_000))})
    for response in (declared, undeclared, form):
        assert response.status_code == 413
        assert "larger than 2 MB" in detail(response)
    assert client.get("/api/health").status_code == 200


def test_a_client_that_goes_away_does_no_harm(url, client):
    host, port = url.removeprefix("http://").split(":")
    with create_connection((host, int(port))) as connection:
        head = f"POST /detect HTTP/1.1\r\nHost: {host}\r\nContent-Length: 999\r\n\r\n"
        connection.sendall(head.encode() + b"xxx")
    assert client.get("/api/health").status_code == 200


def test_a_picture_of_too_many_pixels_is_not_decoded(client):
    started = time.monotonic()
    response = client.post("/detect", content=huge_png(30_000))
    assert response.status_code == 413
    assert "million pixels" in detail(response)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(("per_s", "wait_s"), [(0.0, 3), (2.0, 2), (100.0, 1)])
def test_a_full_queue_says_when_to_come_back(
    app, client, detector, jpeg, monkeypatch, per_s, wait_s
):
    """In half the time that the six reads of the two pictures take at the rate of late."""
    intake, scheduler = app.state.intake, app.state.hub.scheduler
    monkeypatch.setattr(scheduler, "read_rate", SimpleNamespace(per_s=per_s, tick=lambda: None))
    _, held, release = hold(scheduler)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.post, "/detect", content=jpeg) for _ in range(2)]
        wait_until(lambda: intake.waiting == 2)
        refused = client.post("/detect", content=jpeg)
        release.set()
        answers = [future.result() for future in waiting]
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == str(wait_s)
    assert "again" in detail(refused)
    assert [answer.status_code for answer in answers] == [200, 200]
    held.result(10)


def test_health_and_documents(client, detector):
    deadline = time.monotonic() + 30
    body = client.get("/api/health").json()
    while body["sources"][0]["state"] == "opening" and time.monotonic() < deadline:
        body = client.get("/api/health").json()
    assert body["state"] == "idle"
    assert [(one["name"], one["state"]) for one in body["sources"]] == [("demo", "paused")]
    assert body["classes"] == list(detector.config.class_names)
    frames = body["frames"]
    assert frames["captured"] == frames["consumed"] + frames["dropped"] + frames["pending"]
    assert set(body["latency_ms"]["live"]) == {"p50", "p95"}
    assert body["engine"] == {
        "description": detector.runtime.description,
        "build": "none",
        "read_ms": {},
    }
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert client.get("/docs").status_code == 200
    described = client.get("/openapi.json").json()
    post = described["paths"]["/detect"]["post"]
    assert set(post["responses"]) >= {"200", "413", "415", "422"}
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    number, word = form["reads"]["anyOf"]
    assert (number["maximum"], word) == (32, {"const": "auto"})
    (query,) = [each for each in post["parameters"] if each["name"] == "reads"]
    assert {"const": "auto", "type": "string"} in query["schema"]["anyOf"]


def test_what_is_illegal_now(client):
    assert client.post("/api/retry").status_code == 409
    response = client.get("/api/live")
    assert response.status_code == 409
    assert "paused" in detail(response)
    for response in (
        client.get("/api/live", params={"source": "/etc/passwd"}),
        client.post("/api/retry", params={"source": "/etc/passwd"}),
    ):
        assert response.status_code == 422
        assert "those of the server: demo" in detail(response)


def test_a_camera_that_is_not_there(detector, jpeg):
    app = create_app(Settings(source="91"), detector)

    def camera():
        return client.get("/api/health").json()["sources"][0]

    with serving(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        wait_until(lambda: camera()["state"] == "lost")
        assert client.get("/api/health").status_code == 200  # a new start would not bring it back
        assert 'spyv4_source_lost{source="camera 91"} 1.0' in client.get("/metrics").text
        assert 'spyv4_source_lost{source="demo"} 0.0' in client.get("/metrics").text
        assert "camera 91 cannot be opened" in camera()["error"]
        live = client.get("/api/live")
        assert live.status_code == 503
        assert "camera 91" in detail(live)
        assert client.post("/detect", content=jpeg).status_code == 200
        assert client.post("/api/retry").status_code == 204
        wait_until(lambda: camera()["state"] == "lost")


def test_a_password_in_an_address_is_shown_to_nobody(detector):
    app = create_app(Settings(source="rtsp://me:secret@127.0.0.1:9/a?token=1"), detector)
    with serving(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        wait_until(lambda: client.get("/api/health").json()["sources"][0]["state"] == "lost")
        refused = client.get("/api/live", params={"source": "nothing"})
        assert "rtsp://127.0.0.1:9/a, demo" in detail(refused)
        assert "secret" not in client.get("/api/health").text + refused.text


def test_an_early_refusal_lets_the_client_finish_sending(url):
    """urllib closes after the answer and would see a broken pipe if the body were not read."""
    request = urllib.request.Request(f"{url}/detect?reads=0", bytes(1_900_000), method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    assert refused.value.code == 422
    refused.value.close()


def test_posting_takes_little_more_than_detecting(app, client, detector, jpeg):
    def seconds(action):
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    def inside():
        detector.detect(jpeg, reads=16)

    def posted():
        client.post("/detect", params={"reads": 16}, content=jpeg)

    wait_until(lambda: app.state.hub.viewers == 0)
    times = np.array([(seconds(inside), seconds(posted)) for _ in range(20)])
    median_inside, median_posted = np.median(times, axis=0)
    assert median_posted <= 1.5 * median_inside + 0.01


def test_a_client_that_asks_before_it_sends_is_told_at_once(url, monkeypatch):
    """`curl` waits for `100 Continue` before it sends much; a refusal spares it the sending."""
    monkeypatch.setattr(uploads, "SILENCE_S", 60.0)
    monkeypatch.setattr(uploads, "DISCARD_S", 60.0)
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /detect HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9000000\r\n"
    with create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")  # within 20 s
