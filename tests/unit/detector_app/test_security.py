import asyncio
import json

import pytest

from detector_app.http.hosts import canonical_host, host_name
from detector_app.http.security import Security

PAGE = "http://localhost:8000"


async def inside(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'{"detail": ""}'})


def ask(
    hosts=("localhost:8000",),
    origins=(),
    *,
    method="GET",
    kind="http",
    trusted=(),
    server=("127.0.0.1", 8000),
):
    """Status and detail of the answer."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", host.encode()) for host in hosts]
    headers += [(b"origin", origin.encode()) for origin in origins]
    scope = {"type": kind, "headers": headers, "server": server, "path": "/", "extensions": {}}
    if kind == "http":
        scope["method"] = method
    asyncio.run(Security(inside, trusted)(scope, None, send))
    return sent[0]["status"], json.loads(sent[1]["body"])["detail"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:80", "[0:0::1]"],
)
def test_names_of_this_machine_are_its_own(host):
    assert ask([host]) == (200, "")


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8000", "localhost.evil", "192.0.2.1", "[::2]"]
)
def test_foreign_hosts_are_refused(host, kind):
    status, detail = ask([host], kind=kind, trusted=["spikes.example"])
    assert status == 421
    assert "--allowed-host" in detail
    name = host_name(host)
    for trusted in ("*", name, name.upper()):
        assert ask([host], kind=kind, trusted=[trusted]) == (200, "")


@pytest.mark.parametrize(
    "hosts",
    [[], ["localhost"] * 2, [""], ["a b"], ["localhost:x"], ["[::1"], ["a@localhost"], ["a/b"]],
)
def test_a_host_header_that_is_missing_double_or_malformed(hosts):
    assert ask(hosts, trusted=["*"])[0] == 400


def test_the_address_that_a_connection_came_in_on_is_trusted():
    assert ask(["192.0.2.7:8000"], server=("192.0.2.7", 8000)) == (200, "")
    assert ask(["192.0.2.7:8000"], server=("::ffff:192.0.2.7", 8000)) == (200, "")
    assert ask(["192.0.2.8:8000"], server=("192.0.2.7", 8000))[0] == 421
    assert canonical_host("fe80::1%eth0") == host_name("[FE80:0::1]:80")


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    "origins",
    [["http://evil.example"], ["null"], ["http://localhost:8001"], ["x"], [""], [PAGE, "null"]],
)
def test_other_origins_may_change_nothing(origins, kind):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        status, detail = ask(origins=origins, method=method, kind=kind)
        assert status == 403
        assert "another site" in detail


def test_the_own_page_and_no_page_may():
    for kind in ("http", "websocket"):
        assert ask(origins=[PAGE], method="POST", kind=kind) == (200, "")
        assert ask(method="POST", kind=kind) == (200, "")
    assert ask(origins=["http://evil.example"], method="GET") == (200, "")
