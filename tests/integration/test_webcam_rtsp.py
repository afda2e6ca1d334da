"""`spyv4-webcam` on a stream over RTSP, from a real server in a process of its own."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.sessions import PATIENCE_S
from tests.integration.test_webcam_window import WEBCAM

SERVER = Path(__file__).parents[1] / "helpers" / "rtsp_server.py"
MISSING = 3
"""The helper's exit code where GStreamer or its bindings are not there."""


@pytest.fixture
def rtsp():
    """The server as a process, and the address of its stream."""
    system = Path("/usr/bin/python3")
    if not system.exists():
        pytest.skip(f"there is no {system}, for which the bindings of GStreamer are installed")
    with subprocess.Popen(
        [system, SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            port = process.stdout.readline().strip()
            if not port and process.wait(10) == MISSING:
                pytest.skip(f"there is no RTSP server of GStreamer: {process.stderr.read()}")
            assert port, process.stderr.read()
            yield process, f"rtsp://127.0.0.1:{port}/test"
        finally:
            process.kill()


@pytest.fixture
def watching(weights):
    """Start the command on a source; it is killed at the end."""
    started = []

    def start(source):
        options = ["--source", source, "--view", "none", "--weights", str(weights)]
        process = subprocess.Popen(
            [sys.executable, "-c", WEBCAM, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def said_by_the_command(errors):
    """Its line, of which there is one."""
    (line,) = errors.splitlines()
    return line.removeprefix("spyv4-webcam: ")


def test_frames_are_lines_until_the_stream_is_lost(rtsp, watching):
    server, address = rtsp
    webcam = watching(address)
    lines = [json.loads(webcam.stdout.readline()) for _ in range(5)]
    numbers = [line["frame"] for line in lines]
    assert numbers == sorted(set(numbers))
    for line in lines:
        assert (line["width"], line["height"]) == (160, 120)
        assert line["latency_ms"] > 0
    server.kill()
    killed_at = time.monotonic()
    _, errors = webcam.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - killed_at < 15
    assert webcam.returncode == 1
    assert said_by_the_command(errors) == (
        f"error: {address} stopped delivering pictures; check its connection and start again"
    )


def test_an_address_that_nobody_listens_on(watching):
    webcam = watching("rtsp://me:secret@127.0.0.1:9/test")
    shown, errors = webcam.communicate(timeout=PATIENCE_S)
    assert (webcam.returncode, shown) == (2, "")
    said = said_by_the_command(errors)
    assert said.startswith("error: rtsp://127.0.0.1:9/test cannot be opened; check")
    assert "secret" not in errors
