"""Clients that leave, or never read, cost nothing any more."""

import threading
from contextlib import ExitStack, contextmanager

from websockets.sync.client import connect

from detector_app.http.guard import Guarded
from detector_app.http.limits import Deadlines
from detector_app.settings import Settings
from detector_app.stream.scheduler import Work
from tests.integration.hostile import UPGRADE, address, dial, hasty
from tests.unit.detector_app.running import hold
from tests.unit.detector_app.scripted import wait_until


@contextmanager
def held(app):
    """The detector looks at a picture for as long as this lasts."""
    _, answer, release = hold(app.state.hub.scheduler)
    try:
        yield
    finally:
        release.set()
        answer.result(10)


def test_a_client_that_leaves_gives_up_its_place(detector, jpeg):
    head = f"POST /detect HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    with hasty(detector, deadlines=Deadlines()) as (client, app), held(app):
        intake = app.state.intake
        with dial(client, head.encode() + jpeg):
            wait_until(lambda: intake.waiting == 1)
        wait_until(lambda: intake.waiting == 0)
        with connect(address(client), max_size=None) as viewer:
            viewer.send(jpeg)
            wait_until(lambda: intake.waiting == 1)
        wait_until(lambda: intake.waiting == 0)


def test_a_look_ends_when_its_client_leaves(detector, jpeg, monkeypatch):
    step, cancel = detector.runtime.step, Work.cancel
    reads, first, left, go_on = [], threading.Event(), threading.Event(), threading.Event()

    def counted_step(*arguments, **options):
        reads.append(1)
        first.set()
        go_on.wait(20)
        return step(*arguments, **options)

    def noted_cancel(work):
        cancel(work)
        left.set()

    monkeypatch.setattr(detector.runtime, "step", counted_step)
    monkeypatch.setattr(Work, "cancel", noted_cancel)
    head = f"POST /detect?reads=32 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(jpeg)}"
    settings = Settings(source="none")
    with hasty(detector, settings=settings, deadlines=Deadlines()) as (client, _):
        with dial(client, f"{head}\r\n\r\n".encode() + jpeg):
            assert first.wait(10)
        assert left.wait(10)
        go_on.set()
        assert client.post("/detect", params={"reads": 1}, content=jpeg).status_code == 200
    assert len(reads) == 2


def test_what_takes_too_long_is_given_up(detector, jpeg):
    with hasty(detector, deadlines=Deadlines(answer_s=0.3)) as (client, app), held(app):
        refused = client.post("/detect", content=jpeg)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "10"
        assert "not done within 0.3 seconds" in refused.json()["detail"]
        wait_until(lambda: app.state.intake.waiting == 0)


def test_a_client_that_never_reads_is_cut_off(detector, capfd):
    with (
        hasty(detector, send_buffer=4096) as (client, app),
        dial(client, UPGRADE, receive_buffer=4096),
    ):
        hub = app.state.hub
        wait_until(lambda: hub.viewers == 1)
        wait_until(lambda: hub.viewers == 0)
    assert capfd.readouterr().err == ""


def test_a_client_that_never_reads_does_not_hold_up_the_end(detector, capfd, monkeypatch):
    stalled, pause = threading.Event(), Guarded.pause_writing

    def noted_pause(connection):
        pause(connection)
        stalled.set()

    monkeypatch.setattr(Guarded, "pause_writing", noted_pause)
    with (
        ExitStack() as afterwards,
        hasty(detector, send_buffer=4096, deadlines=Deadlines(send_s=600)) as (client, _),
    ):
        afterwards.enter_context(dial(client, UPGRADE, receive_buffer=4096))
        assert stalled.wait(20)
    assert capfd.readouterr().err == ""
