"""The server under a real client, over a real socket."""

import base64
import io
import json
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from socket import create_connection

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from detector_app.demo import DemoSource
from detector_app.server import create_app
from detector_app.settings import Settings
from tests.unit.detector_app.lively import lively_detector
from tests.unit.detector_app.scripted import wait_until
from tests.unit.detector_app.serving import serving
from tests.unit.detector_app.test_uploads import huge_png

SETTINGS = Settings(max_body_mb=2, queue_size=2)


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


def test_every_read_on_request(client, jpeg):
    body = client.post("/detect", params={"per_read": True}, content=jpeg).json()
    assert [read["read"] for read in body["per_read"]] == [1, 2, 3]
    assert body["per_read"][-1]["detections"] == body["detections"]
    assert body["per_read"][0]["firing_rates"] != body["per_read"][1]["firing_rates"]


@pytest.mark.parametrize(
    "options",
    [
        {"reads": 0},
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


def test_what_is_not_a_picture(client, jpeg):
    response = client.post("/detect", content=b"hello")
    assert response.status_code == 415
    assert "not a picture" in detail(response)
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


def chunks(megabytes, sent):
    for _ in range(megabytes):
        sent.append(1)
        yield bytes(1_000_000)


def test_a_body_that_is_too_large_is_not_read(client):
    declared = client.post("/detect", content=bytes(3_000_000))
    sent: list[int] = []
    undeclared = client.post("/detect", content=chunks(20, sent))
    form = client.post("/detect", files={"image": ("a.jpg", bytes(3_000_000))})
    for response in (declared, undeclared, form):
        assert response.status_code == 413
        assert "larger than 2 MB" in detail(response)
    assert client.get("/api/health").status_code == 200


def test_a_client_that_goes_away_does_no_harm(url, client):
    host, port = url.removeprefix("http://").split(":")
    with create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /detect HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\nxxx")
    assert client.get("/api/health").status_code == 200


def test_a_picture_of_too_many_pixels_is_not_decoded(client):
    started = time.monotonic()
    response = client.post("/detect", content=huge_png(30_000))
    assert response.status_code == 413
    assert "million pixels" in detail(response)
    assert time.monotonic() - started < 2


def test_a_full_queue_says_when_to_come_back(app, client, detector, jpeg):
    pipeline = app.state.pipeline
    started, release = threading.Event(), threading.Event()

    def hold(_detections):
        started.set()
        release.wait(20)

    image = DemoSource().frame(0)
    held = pipeline.submit(image, pipeline.options, hold)
    assert started.wait(10)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.post, "/detect", content=jpeg) for _ in range(2)]
        wait_until(lambda: pipeline.waiting == 2)
        refused = client.post("/detect", content=jpeg)
        release.set()
        answers = [future.result() for future in waiting]
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "again" in detail(refused)
    assert [answer.status_code for answer in answers] == [200, 200]
    held.result(10)


def test_health_and_documents(client):
    body = client.get("/api/health").json()
    assert body["state"] == "idle"
    assert body["source"] == "demo"
    frames = body["frames"]
    assert frames["captured"] == frames["consumed"] + frames["dropped"] + frames["pending"]
    assert set(body["latency_ms"]["live"]) == {"p50", "p95"}
    assert client.get("/").headers["content-type"].startswith("text/html")
    assert client.get("/docs").status_code == 200
    described = client.get("/openapi.json").json()
    assert set(described["paths"]["/detect"]["post"]["responses"]) >= {"200", "413", "415", "422"}


def test_what_is_illegal_now(client):
    assert client.post("/api/retry").status_code == 409
    response = client.get("/api/live")
    assert response.status_code == 409
    assert "idle" in detail(response)
    response = client.post("/api/source", params={"name": "/etc/passwd"})
    assert response.status_code == 422
    assert "demo" in detail(response)
    assert client.post("/api/source").status_code == 422


def messages(socket, kind, count):
    """The next `count` messages of a kind; binary ones are acknowledged."""
    found = []
    while len(found) < count:
        data = socket.recv(timeout=20)
        if isinstance(data, bytes):
            (frame,) = struct.unpack(">I", data[:4])
            socket.send(json.dumps({"type": "shown", "frame": frame}))
            message = {"type": "frame", "frame": frame, "jpeg": data[4:]}
        else:
            message = json.loads(data)
        if message["type"] == kind:
            found.append(message)
    return found


@pytest.fixture
def socket(url):
    with connect(url.replace("http", "ws") + "/ws", max_size=None) as made:
        yield made


def test_the_socket_streams_frames_reads_and_rasters(socket, client, detector):
    (hello,) = messages(socket, "hello", 1)
    assert hello["layers"] == list(detector.layer_names)
    assert hello["sources"] == ["demo"]
    reads = messages(socket, "read", 9)
    assert {read["read"] for read in reads} == {1, 2, 3}
    assert len({read["frame"] for read in reads}) >= 3
    assert set(reads[0]["rasters"]) == set(detector.layer_names)
    count, packed = reads[0]["rasters"]["stem1"]
    assert len(base64.b64decode(packed)) == -(-count // 8)
    (frame,) = messages(socket, "frame", 1)
    assert Image.open(io.BytesIO(frame["jpeg"])).size == (640, 480)
    (statistics,) = messages(socket, "statistics", 1)
    assert statistics["state"] == "running"
    assert client.get("/api/live").json()["firing_rates"]


def test_settings_change_while_it_runs(socket):
    socket.send(json.dumps({"type": "settings", "reads": 5}))
    deadline = time.monotonic() + 10
    while messages(socket, "read", 1)[0]["reads"] != 5:
        assert time.monotonic() < deadline
    socket.send(json.dumps({"type": "settings", "reads": 0}))
    assert messages(socket, "error", 1)[0]["message"].startswith("reads")
    socket.send("nonsense")
    socket.send(json.dumps(["nonsense"]))
    socket.send(json.dumps({"type": "nonsense"}))
    assert len(messages(socket, "error", 3)) == 3
    socket.send(json.dumps({"type": "settings", "reads": 3}))


def test_a_client_that_does_not_keep_up_skips_frames(socket, app):
    """Without acknowledgements two frames come, and after one the newest."""
    frames = []
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        data = socket.recv(timeout=5)
        if isinstance(data, bytes):
            frames.append(struct.unpack(">I", data[:4])[0])
    assert len(frames) == 2
    socket.send(json.dumps({"type": "shown", "frame": frames[-1]}))
    newest = app.state.pipeline.latest.frame.id
    (frame,) = messages(socket, "frame", 1)
    assert frame["frame"] >= newest > frames[-1] + 2


def test_pictures_of_the_visitor(socket, app, jpeg):
    socket.send(json.dumps({"type": "watch", "on": False}))
    socket.send(jpeg)
    found = []
    while len(found) < 3:
        found += [read for read in messages(socket, "read", 1) if read["own"]]
    assert [read["read"] for read in found] == [1, 2, 3]
    assert {read["frame"] for read in found} == {0}
    wait_until(lambda: app.state.pipeline.state.value == "idle")
    socket.send(b"no picture")
    assert "not a picture" in messages(socket, "error", 1)[0]["message"]
    socket.send(jpeg)
    assert messages(socket, "read", 1)[0]["frame"] == 2


def test_another_site_may_not_connect(url):
    address = url.replace("http", "ws") + "/ws"
    with pytest.raises(InvalidStatus), connect(address, origin="http://elsewhere.example"):
        pass


def test_live_reads_pause_without_viewers(socket, app, url):
    messages(socket, "read", 1)
    socket.close()
    pipeline = app.state.pipeline
    wait_until(lambda: pipeline.viewers == 0)
    wait_until(lambda: pipeline.capture.source is None)
    time.sleep(0.1)
    captured = pipeline.capture.counts.captured
    time.sleep(0.3)
    assert pipeline.capture.counts.captured == captured


def test_a_camera_that_is_not_there(detector, jpeg):
    app = create_app(Settings(source="91"), detector)
    with serving(app) as address, httpx.Client(base_url=address, timeout=30) as client:
        wait_until(lambda: client.get("/api/health").status_code == 503)
        body = client.get("/api/health").json()
        assert body["state"] == "error"
        assert "camera 91 cannot be opened" in body["error"]
        live = client.get("/api/live")
        assert live.status_code == 503
        assert "camera 91" in detail(live)
        assert client.post("/detect", content=jpeg).status_code == 200
        assert client.post("/api/retry").status_code == 204
        wait_until(lambda: client.get("/api/health").json()["state"] == "error")
        assert client.post("/api/source", params={"name": "demo"}).status_code == 204
        assert client.get("/api/health").status_code == 200


def test_nothing_is_left_running(detector):
    app = create_app(Settings(), detector)
    before = threading.active_count()
    with serving(app) as address, connect(address.replace("http", "ws") + "/ws") as socket:
        messages(socket, "read", 1)
    wait_until(lambda: threading.active_count() <= before)


def test_posting_takes_little_more_than_detecting(app, client, detector, jpeg):
    def seconds(action):
        started = time.perf_counter()
        action()
        return time.perf_counter() - started

    def inside():
        detector.detect(jpeg, reads=16)

    def posted():
        client.post("/detect", params={"reads": 16}, content=jpeg)

    wait_until(lambda: app.state.pipeline.viewers == 0)
    times = np.array([(seconds(inside), seconds(posted)) for _ in range(20)])
    median_inside, median_posted = np.median(times, axis=0)
    assert median_posted <= 1.5 * median_inside + 0.01
