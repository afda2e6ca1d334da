"""The front before real servers, of which one is lost; without Ray."""

import asyncio
import json
import struct
from contextlib import ExitStack, asynccontextmanager

import cv2
import httpx
import pytest

from detector_app.cluster.bridging import NOTICE
from detector_app.cluster.front import Rules, create_front
from detector_app.cluster.leases import NoReplicaError
from detector_app.http.app import create_app
from detector_app.settings import Settings
from detector_app.stream.demo import DemoSource
from tests.unit.detector_app.lively import lively_detector
from tests.unit.detector_app.serving import serving

GONE = "127.0.0.1:9"


class Chosen:
    """Leases that a test chooses: those of `addresses` in turn."""

    def __init__(self, *addresses):
        self.all, self.leased, self.open = list(addresses), 0, 0

    @asynccontextmanager
    async def lease(self):
        if not self.all:
            raise NoReplicaError
        self.leased += 1
        self.open += 1
        try:
            yield self.all[(self.leased - 1) % len(self.all)]
        finally:
            self.open -= 1

    async def addresses(self):
        return self.all


@pytest.fixture(scope="module")
def replica():
    with serving(create_app(Settings(), lively_detector())) as url:
        yield url.removeprefix("http://")


@pytest.fixture(scope="module")
def picture():
    return cv2.imencode(".jpg", DemoSource().frame(0))[1].tobytes()


def ask(leases, method, path, rules=None, **more):
    async def run():
        front = create_front(leases, rules or Rules(1_000_000))
        transport = httpx.ASGITransport(app=front, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.request(method, path, **more)
        said = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive():
            return next(said)

        async def send(message):
            assert message["type"].endswith(".complete")

        await front({"type": "lifespan"}, receive, send)
        return answer

    return asyncio.run(run())


def test_a_request_is_answered_as_the_replica_does(replica, picture):
    leases = Chosen(replica)
    answer = ask(leases, "POST", "/detect?reads=2", content=picture)
    direct = httpx.post(f"http://{replica}/detect?reads=2", content=picture)
    assert answer.status_code == 200
    assert answer.json()["detections"] == direct.json()["detections"] != []
    assert leases.open == 0
    wrong = ask(leases, "POST", "/detect?reads=0", content=picture)
    assert (wrong.status_code, "reads" in wrong.json()["detail"]) == (422, True)


def test_a_request_whose_replica_is_gone_goes_to_another(replica, picture):
    leases = Chosen(GONE, replica)
    assert ask(leases, "POST", "/detect", content=picture).status_code == 200
    assert (leases.leased, leases.open) == (2, 0)


@pytest.mark.parametrize("addresses", [(GONE,), ()])
def test_where_none_answers_it_is_said_when_to_come_back(addresses, picture):
    answer = ask(Chosen(*addresses), "POST", "/detect", content=picture)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "again" in answer.json()["detail"]


def test_too_much_is_refused(replica):
    answer = ask(Chosen(replica), "POST", "/detect", Rules(1000), content=bytes(2000))
    assert answer.status_code == 413


def test_the_front_asks_for_the_key_and_refuses_other_sites(replica, picture):
    rules = Rules(1_000_000, key="an-open-secret-of-tests")
    assert ask(Chosen(replica), "POST", "/detect", rules, content=picture).status_code == 401
    headers = {"Origin": "http://evil.example"}
    answer = ask(Chosen(replica), "POST", "/detect", content=picture, headers=headers)
    assert answer.status_code == 403


def test_health_and_metrics_are_of_all(replica):
    with serving(create_app(Settings(), lively_detector())) as url:
        both = Chosen(replica, url.removeprefix("http://"), GONE)
        health = ask(both, "GET", "/api/health").json()
        assert len(health["replicas"]) == 2
        assert health["queue"]["size"] == 2 * Settings().queue_size
        text = ask(both, "GET", "/metrics").text
    assert text.count("# TYPE spyv4_viewers gauge") == 1
    assert f'spyv4_viewers{{replica="{replica}"}} 0.0' in text
    assert "spyv4_replicas 2.0" in text
    assert ask(Chosen(), "GET", "/api/health").status_code == 503


def test_a_stream_goes_on_with_another_replica_and_a_notice(replica):
    """It keeps what its client set."""
    with ExitStack() as first:
        mortal = first.enter_context(serving(create_app(Settings(), lively_detector())))
        leases = Chosen(mortal.removeprefix("http://"), replica)
        asyncio.run(follow(create_front(leases, Rules(1_000_000)), first.close))


async def follow(front, kill):
    """Watch until the replica is killed, and then until the next one's frames come."""
    inbox, outbox = asyncio.Queue(), asyncio.Queue()
    scope = {
        "type": "websocket",
        "path": "/ws",
        "headers": [(b"host", b"localhost")],
        "query_string": b"",
        "server": ("localhost", 80),
    }
    await inbox.put({"type": "websocket.connect"})
    task = asyncio.create_task(front(scope, inbox.get, outbox.put))
    assert (await outbox.get())["type"] == "websocket.accept"

    async def read():
        while True:
            message = await asyncio.wait_for(outbox.get(), 60)
            if message.get("bytes"):
                (number,) = struct.unpack(">I", message["bytes"][:4])
                shown = json.dumps({"type": "shown", "frame": number})
                await inbox.put({"type": "websocket.receive", "text": shown})
            elif message["type"] == "websocket.send":
                return json.loads(message["text"])

    assert (await read())["type"] == "hello"
    settings = json.dumps({"type": "settings", "reads": 5})
    await inbox.put({"type": "websocket.receive", "text": settings})
    while (said := await read())["type"] != "read" or said["reads"] != 5:
        pass
    await asyncio.to_thread(kill)
    while (said := await read())["type"] != "error":
        pass
    assert (said["message"], said["own"]) == (NOTICE, False)
    assert (await read())["type"] == "hello"
    while (said := await read())["type"] != "read" or said["reads"] != 5:
        assert said["type"] != "read" or said["restarted"] == NOTICE or said["frame"] < 3
    await inbox.put({"type": "websocket.disconnect"})
    await asyncio.wait_for(task, 10)
