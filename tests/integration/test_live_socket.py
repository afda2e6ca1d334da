"""The WebSocket of the live page under a real client."""

import base64
import io
import json
import struct
import threading
import time

import cv2
import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from detector_app.http.app import create_app
from detector_app.settings import Settings
from tests.unit.detector_app.scripted import wait_until
from tests.unit.detector_app.serving import serving


def messages(socket, kind, count):
    """The next `count` messages of a kind; binary ones are acknowledged."""
    found = []
    deadline = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} messages {kind!r} came"
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
    assert hello["max_reads"] == 32
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
    socket.send(json.dumps({"type": "shown"}))
    socket.send("[" * 100_000)
    socket.send('{"type": "settings", "reads": 1e400}')
    socket.send('{"type": "settings", "reads": 33}')
    assert len(messages(socket, "error", 7)) == 7
    socket.send(json.dumps({"type": "settings", "reads": 3}))
    while messages(socket, "read", 1)[0]["reads"] != 3:
        assert time.monotonic() < deadline + 10
    (statistics,) = messages(socket, "statistics", 1)
    while statistics["settings"]["reads"] != 3:
        (statistics,) = messages(socket, "statistics", 1)
    assert statistics["settings_heard"] == 5  # the three that were refused among them


def test_a_client_that_does_not_keep_up_skips_frames(socket, app):
    """Without acknowledgements two frames come, and after one the newest."""
    frames = []
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        data = socket.recv(timeout=5)
        if isinstance(data, bytes):
            frames.append(struct.unpack(">I", data[:4])[0])
    assert len(frames) == 2
    assert frames == [0, 1]
    (stream,) = app.state.hub.streams
    before = stream.counts.consumed
    wait_until(lambda: stream.counts.consumed > before + 3)
    newest = stream.latest.frame
    socket.send(json.dumps({"type": "shown", "frame": 1}))
    (frame,) = messages(socket, "frame", 1)
    assert frame["frame"] == 2
    assert any(frame["jpeg"] == shown.jpeg for shown in (newest, stream.latest.frame))


def test_what_one_client_chooses_changes_nothing_for_another(socket, url, app):
    with connect(url.replace("http", "ws") + "/ws", max_size=None) as other:
        messages(other, "read", 1)
        socket.send(json.dumps({"type": "settings", "reads": 5, "score_threshold": 0.9}))
        deadline = time.monotonic() + 10
        while messages(socket, "read", 1)[0]["reads"] != 5:
            assert time.monotonic() < deadline
        assert {read["reads"] for read in messages(other, "read", 9)} == {3}
        assert messages(other, "statistics", 1)[0]["settings"]["reads"] == 3
        socket.send(json.dumps({"type": "watch", "on": False}))
        wait_until(lambda: len(app.state.hub.streams) == 1)
        assert {read["reads"] for read in messages(other, "read", 3)} == {3}
        assert messages(socket, "statistics", 2)[-1]["state"] == "paused"


def test_each_client_chooses_its_source(detector, tmp_path):
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((30, 90, 3), 128, np.uint8))
    app = create_app(Settings(source=str(tmp_path / "wide.png")), detector)
    with serving(app) as address:
        url = address.replace("http", "ws") + "/ws"
        with connect(url, max_size=None) as one, connect(url, max_size=None) as other:
            assert messages(one, "hello", 1)[0]["sources"] == ["wide.png", "demo"]
            assert messages(one, "read", 1)[0]["width"] == 90
            one.send(json.dumps({"type": "watch", "on": True, "source": "demo"}))
            deadline = time.monotonic() + 10
            while messages(one, "read", 1)[0]["width"] != 640:
                assert time.monotonic() < deadline
            assert {read["width"] for read in messages(other, "read", 6)} == {90}
            assert messages(one, "statistics", 1)[0]["source"] == "demo"
            for name in ("/etc/passwd", ["demo"], 7):
                one.send(json.dumps({"type": "watch", "on": True, "source": name}))
                assert messages(one, "error", 1)
            assert {read["width"] for read in messages(one, "read", 2)} == {640}


def test_pictures_of_the_visitor(socket, app, jpeg):
    socket.send(json.dumps({"type": "watch", "on": False}))
    socket.send(jpeg)
    found = []
    while len(found) < 3:
        found += [read for read in messages(socket, "read", 1) if read["own"]]
    assert [read["read"] for read in found] == [1, 2, 3]
    assert {read["frame"] for read in found} == {0}
    wait_until(lambda: app.state.hub.viewers == 0)
    socket.send(b"no picture")
    (error,) = messages(socket, "error", 1)
    assert error["own"]
    assert "not a picture" in error["message"]
    socket.send(jpeg)
    assert messages(socket, "read", 1)[0]["frame"] == 2


@pytest.mark.parametrize("frame", ["1e400", "-1e400", "NaN", "1.5", "-1", "true", "null", '"7"'])
def test_a_client_that_cannot_be_paced_is_sent_away(socket, frame):
    socket.send(f'{{"type": "shown", "frame": {frame}}}')
    received = []
    with pytest.raises(ConnectionClosed) as closed:
        received.extend(socket)
    assert closed.value.rcvd.code == 1008
    last = json.loads([text for text in received if isinstance(text, str)][-1])
    assert last["type"] == "error"
    assert last["message"].startswith("frame must be the number of a live frame")


def test_live_reads_pause_without_viewers(socket, app, url):
    messages(socket, "read", 1)
    socket.close()
    hub = app.state.hub
    wait_until(lambda: hub.viewers == 0)
    time.sleep(0.1)
    captured = hub.feed().captured
    time.sleep(0.3)
    assert hub.feed().captured == captured > 0


def test_nothing_is_left_running(detector):
    app = create_app(Settings(), detector)
    before = threading.active_count()
    with serving(app) as address, connect(address.replace("http", "ws") + "/ws") as socket:
        messages(socket, "read", 1)
    wait_until(lambda: threading.active_count() <= before)


def test_pictures_of_the_visitor_are_looked_at_one_by_one(socket, jpeg):
    socket.send(json.dumps({"type": "watch", "on": False}))
    socket.send(jpeg)
    socket.send(jpeg)
    (error,) = messages(socket, "error", 1)
    assert error["message"].startswith("wait for the last read of a picture")


def test_a_failure_of_the_server_is_told_without_its_reason(socket, jpeg, monkeypatch, caplog):
    """The next picture is looked at as if nothing had been."""

    def fail(_data):
        raise ZeroDivisionError("a secret")

    socket.send(json.dumps({"type": "watch", "on": False}))
    with monkeypatch.context() as patch:
        patch.setattr("detector_app.http.intake.read_image", fail)
        socket.send(jpeg)
        (error,) = messages(socket, "error", 1)
    assert error == {
        "type": "error",
        "message": "the server failed; its log says more",
        "own": True,
    }
    assert "a secret" in caplog.text
    socket.send(jpeg)
    while not messages(socket, "read", 1)[0]["own"]:
        pass


def test_auto_says_which_read_is_the_last(socket, jpeg):
    chosen = {"type": "settings", "reads": "auto", "score_threshold": 1.0}
    socket.send(json.dumps(chosen))
    deadline = time.monotonic() + 10
    while messages(socket, "read", 1)[0]["reads"] != 8:
        assert time.monotonic() < deadline
    assert messages(socket, "statistics", 1)[0]["settings"]["reads"] == "auto"
    reads = messages(socket, "read", 6)
    assert {(read["read"], read["last"]) for read in reads} == {(1, False), (2, True)}
    assert {read["reads"] for read in reads} == {8}
    socket.send(json.dumps({"type": "watch", "on": False}))
    for number in range(2):  # the second is taken since the first has ended
        socket.send(jpeg)
        own = []
        while not own or not own[-1]["last"]:
            own += [read for read in messages(socket, "read", 1) if read["own"]]
        assert [(read["read"], read["frame"]) for read in own] == [(1, number), (2, number)]


def test_every_last_read_says_so(socket):
    reads = messages(socket, "read", 9)
    assert all(read["last"] == (read["read"] == read["reads"]) for read in reads)
