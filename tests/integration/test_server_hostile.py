"""The server stays open to others, whatever some clients do."""

import json
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from detector_app.http import uploads
from detector_app.http.connections import MAX_HEAD, SMALL_MESSAGE
from detector_app.http.guard import LARGE_MESSAGES
from detector_app.http.limits import Deadlines
from detector_app.settings import Settings
from tests.integration.hostile import (
    POST,
    UPGRADE,
    address,
    dial,
    hasty,
    is_closed,
    read_all,
    send_if_open,
)
from tests.integration.test_live_socket import messages
from tests.unit.detector_app.scripted import wait_until


@pytest.mark.parametrize(
    ("count", "start", "drip"),
    [(80, b"", b""), (70, b"GET / HTTP/1.1\r\nX: ", b"x"), (70, POST, b"x")],
    ids=["silent", "heads", "bodies"],
)
def test_slow_clients_shut_nobody_out_and_are_closed(detector, count, start, drip):
    with hasty(detector) as (client, _), ExitStack() as stack:
        slow = [stack.enter_context(dial(client, start)) for _ in range(count)]
        assert client.get("/api/health").status_code == 200
        assert client.get("/").status_code == 200

        def all_closed():
            for connection in [*slow]:
                if is_closed(connection):
                    slow.remove(connection)
                elif drip:
                    send_if_open(connection, drip)
            assert client.get("/api/health").status_code == 200
            return not slow

        wait_until(all_closed, 20)


def test_a_picture_that_stops_coming_is_answered_and_closed(detector):
    with hasty(detector) as (client, _), dial(client, POST + b"xxx") as connection:
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"too slowly" in answer


def test_a_picture_over_a_slow_connection_is_taken(detector, jpeg):
    """Each piece is in time, and the average above the least, although it takes several seconds."""
    pause = threading.Event()

    def pieces():
        size = -(-len(jpeg) // 20)
        for start in range(0, len(jpeg), size):
            pause.wait(0.1)
            yield jpeg[start : start + size]

    with hasty(detector) as (client, _):
        assert client.post("/detect", content=pieces()).status_code == 200


def test_an_idle_connection_between_requests_is_closed(detector):
    request = b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with hasty(detector) as (client, _), dial(client, request + b"G") as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


def test_of_too_many_that_owe_a_request_the_oldest_goes(detector):
    patient = Deadlines(head_s=60)
    with (
        hasty(detector, open_files=16, deadlines=patient) as (client, _),
        ExitStack() as stack,
    ):
        waiting = [stack.enter_context(dial(client)) for _ in range(4)]
        assert not any(is_closed(connection) for connection in waiting)
        waiting.append(stack.enter_context(dial(client)))
        wait_until(lambda: is_closed(waiting[0]))
        assert not is_closed(waiting[-1])
        assert client.get("/api/health").status_code == 200


def test_an_endless_head_is_refused(detector):
    patient = Deadlines(head_s=60)
    with (
        hasty(detector, deadlines=patient) as (client, _),
        dial(client, b"GET / HTTP/1.1\r\n") as connection,
    ):

        def refused():
            send_if_open(connection, b"X: " + b"x" * 10_000 + b"\r\n")
            return is_closed(connection)

        wait_until(refused)


@pytest.mark.parametrize(
    ("start", "more", "status"),
    [(b"GET /?", b"x" * 70_000, b"414"), (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 12_000, b"431")],
)
def test_heads_that_are_too_long_are_told_what_they_are(detector, start, more, status):
    with (
        hasty(detector, deadlines=Deadlines(head_s=60)) as (client, _),
        dial(client, start) as connection,
    ):
        for first in range(0, len(more), 8_000):
            connection.sendall(more[first : first + 8_000])
            time.sleep(0.02)  # in pieces, as from afar
            if first + 8_000 > MAX_HEAD:
                break
        answer = read_all(connection)
        assert answer.split(b" ")[1] == status
        assert b'{"detail": "' in answer
        assert client.get("/api/health").status_code == 200


def test_uploads_and_viewers_have_limits_of_their_own(detector, jpeg):
    settings = Settings(max_uploads=1, max_viewers=1)
    with hasty(detector, settings=settings, deadlines=Deadlines()) as (client, _):
        with dial(client, POST + b"xxx"), connect(address(client), max_size=None) as viewer:
            refused = []
            wait_until(
                lambda: (
                    refused.append(client.post("/detect", content=jpeg))
                    or refused[-1].status_code == 503
                )
            )
            assert refused[-1].headers["retry-after"] == "1"
            assert "1 requests are on their way already" in refused[-1].json()["detail"]
            messages(viewer, "hello", 1)
            with connect(address(client)) as another:
                assert "1 are connected" in json.loads(another.recv(10))["message"]
                with pytest.raises(ConnectionClosed) as closed:
                    another.recv(10)
            assert closed.value.rcvd.code == 1013
            assert client.get("/api/health").status_code == 200
        wait_until(lambda: client.post("/detect", content=jpeg).status_code == 200)


def test_other_sites_and_names_are_refused_everywhere(detector):
    settings = Settings(host="spikes.local", allowed_host=("a.example",))
    with hasty(detector, settings=settings) as (client, _):
        for host in ("127.0.0.1", "localhost:1", "spikes.local", "A.example"):
            assert client.get("/api/health", headers={"host": host}).status_code == 200
        assert client.get("/", headers={"host": "b.example"}).status_code == 421
        for path in ("/detect", "/api/retry", "/api/source?name=demo"):
            for origin in ("http://b.example", "null"):
                assert client.post(path, headers={"origin": origin}).status_code == 403
        for origin, status in (("http://b.example", 403), ("null", 403), (None, 101)):
            with dial(client) as connection:
                line = b"" if origin is None else b"Origin: %s\r\n" % origin.encode()
                connection.sendall(UPGRADE.replace(b"Connection", line + b"Connection"))
                assert connection.recv(100).startswith(b"HTTP/1.1 %d " % status)
        with dial(client, UPGRADE.replace(b"127.0.0.1", b"b.example")) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 421 ")


# --- large messages over the WebSocket ------------------------------------------------------


def test_large_bodies_take_turns(detector, monkeypatch):
    """The second is not read on until the first came; small ones need not wait."""
    monkeypatch.setattr(uploads, "SMALL_BODY", 1000)
    monkeypatch.setattr(uploads, "LARGE_BODIES", 1)
    small = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    large = cv2.imencode(".png", noise)[1].tobytes()
    assert len(small) < 1000 < len(large)
    head = f"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(large)}\r\n\r\n"
    with (
        hasty(detector, deadlines=Deadlines()) as (client, _),
        dial(client, head.encode() + large[:2000]) as first,
        dial(client, head.encode() + large[:2000]) as second,
    ):
        time.sleep(0.2)
        second.settimeout(0.5)
        second.sendall(large[2000:])
        with pytest.raises(TimeoutError):
            second.recv(100)
        assert client.post("/detect", content=small).status_code == 200
        first.sendall(large[2000:])
        second.settimeout(20)
        for connection in (first, second):
            assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_large_messages_take_turns(detector):
    with hasty(detector) as (client, _):

        def send_nonsense(_):
            with connect(address(client), max_size=None) as viewer:
                viewer.send(bytes(6 * SMALL_MESSAGE))
                return messages(viewer, "error", 1)[0]["message"]

        with ThreadPoolExecutor(3 * LARGE_MESSAGES) as pool:
            found = list(pool.map(send_nonsense, range(3 * LARGE_MESSAGES)))
        assert all("not a picture" in message for message in found)


def test_a_large_message_that_stops_coming_ends_the_connection(detector):
    """Were it to keep its turn, nobody's large messages would be read any more."""
    head = struct.pack(">BBQI", 0x82, 0xFF, 6 * SMALL_MESSAGE, 0)
    settings, deadlines = Settings(source="none"), Deadlines(silence_s=1.0)
    with (
        hasty(detector, settings=settings, deadlines=deadlines) as (client, _),
        ExitStack() as stack,
    ):
        stopped = [stack.enter_context(dial(client, UPGRADE)) for _ in range(LARGE_MESSAGES)]
        for connection in stopped:
            assert connection.recv(100).startswith(b"HTTP/1.1 101 ")
            connection.sendall(head + bytes(3 * SMALL_MESSAGE))
        with connect(address(client), max_size=None) as viewer:
            viewer.send(bytes(6 * SMALL_MESSAGE))
            assert "not a picture" in messages(viewer, "error", 1)[0]["message"]
        wait_until(lambda: all(is_closed(connection) for connection in stopped))


def test_where_there_are_too_many_connections_a_new_one_is_closed(detector):
    """Twelve viewers, of sixteen open files: nobody owes a request who could go instead."""
    settings = Settings(source="none")
    with (
        hasty(detector, settings=settings, open_files=16, deadlines=Deadlines()) as (client, _),
        ExitStack() as stack,
    ):
        client.close()
        viewers = [stack.enter_context(connect(address(client))) for _ in range(12)]
        for viewer in viewers:
            messages(viewer, "hello", 1)
        with dial(client) as connection:
            wait_until(lambda: is_closed(connection))
        viewers.pop().close()
        with dial(client, UPGRADE) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 101 ")
        for viewer in viewers:
            messages(viewer, "statistics", 1)
