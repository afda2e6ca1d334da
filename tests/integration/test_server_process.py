"""The commands as processes of their own: ports, signals, memory."""

import io
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.sync.client import connect

from detector_app.http.uploads import DISCARD_S
from detector_app.stream.hub import Hub
from detector_app.stream.sources import parse_source
from detector_app.stream.viewer import Viewer
from spyv4 import ReadOptions
from tests.helpers.sessions import PATIENCE_S
from tests.unit.detector_app.lively import lively_detector

SERVE = "import sys; from detector_app.commands.serve import serve_command as c; sys.exit(c())"


@contextmanager
def server_process(weights, port=0, options=()):
    """A server as a process, which is killed at the end of the block."""
    command = [sys.executable, "-c", SERVE, "--port", str(port), "--weights", str(weights)]
    command += options
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has the signal ignored, down to this process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(weights):
    with server_process(weights) as process:
        yield process, process.stdout.readline().split()[3]


def peak_mb(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM")) / 1000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("declared", [True, False])
def test_a_file_of_200_mb_is_not_held_in_memory(server, declared):
    process, url = server
    before = peak_mb(process)
    chunks = (bytes(1_000_000) for _ in range(200))
    headers = {"content-length": "200000000"} if declared else {}
    started = time.monotonic()
    answer = httpx.post(f"{url}/detect", content=chunks, headers=headers, timeout=60)
    assert answer.status_code == 413
    assert time.monotonic() - started < DISCARD_S + 5
    assert peak_mb(process) - before < 80


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_large_pictures_of_many_clients_are_not_held_in_memory(server):
    """One takes 150 MB decoded, and 100 MB more while it is; twelve would take 1,800."""
    process, url = server
    picture = io.BytesIO()
    Image.new("L", (8000, 6250)).save(picture, "PNG", compress_level=1)
    before = peak_mb(process)

    def look(_):
        with connect(url.replace("http", "ws") + "/ws", max_size=None, ping_timeout=None) as viewer:
            viewer.send('{"type": "watch", "on": false}')
            viewer.send(picture.getvalue())
            for message in viewer:
                kind = json.loads(message) if isinstance(message, str) else {}
                if kind.get("own"):
                    return kind["type"]
        return None

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(look, range(12))) == ["read"] * 12
    assert peak_mb(process) - before < 700


def test_a_second_server_on_the_port_says_so(server, weights):
    _, url = server
    with server_process(weights, int(url.rpartition(":")[2])) as second:
        _, errors = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 2
    assert errors.count("\n") == 1
    assert "choose another --port" in errors


def test_an_interrupt_ends_it_at_once(server):
    process, url = server
    assert httpx.get(f"{url}/api/health").status_code == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/api/health")


def test_a_clip_is_replayed_at_its_own_rate(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50.0, (64, 48))
    for level in range(50):
        writer.write(np.full((48, 64, 3), 5 * level, np.uint8))
    writer.release()
    started = time.monotonic()
    hub = Hub(lively_detector(), [parse_source(str(path))])
    hub.scheduler.start()
    viewer, seen = Viewer(ReadOptions(1, 0.5)), []
    hub.watch(viewer)
    for updates in hub.follow(viewer):
        seen += [update.frame.id for update in updates]
        time.sleep(0.05)  # a viewer slower than the clip
    elapsed = time.monotonic() - started
    counts = hub.counts
    hub.stop()
    assert counts.captured == 50 == counts.consumed + counts.dropped
    assert 0.9 < elapsed < 5
    assert seen == sorted(seen)
    assert len(seen) < 40


def test_a_server_that_is_told_to_end_leaves_nobody_without_an_answer(weights):
    picture = io.BytesIO()
    Image.new("L", (8000, 6000)).save(picture, "PNG", compress_level=1)
    with server_process(weights) as process:
        url = process.stdout.readline().split()[3]
        sent = threading.Barrier(9)

        def look(_):
            sent.wait()
            query = {"reads": 32}
            return httpx.post(f"{url}/detect", content=picture.getvalue(), params=query, timeout=60)

        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(look, index) for index in range(8)]
            sent.wait()
            time.sleep(1.5)  # one is decoded at a time, so that others wait
            process.send_signal(signal.SIGTERM)
            answers = [future.result() for future in waiting]
        told = process.wait(timeout=30)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert any(answer.status_code == 200 for answer in answers)
    for answer in answers:
        assert answer.status_code == 200 or int(answer.headers["retry-after"]) > 0
    assert told in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
