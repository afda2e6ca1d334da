"""What the server logs, as a process of its own."""

import json
import signal
from datetime import UTC, datetime, timedelta
from socket import create_connection

import pytest

from tests.helpers.sessions import PATIENCE_S
from tests.integration.test_server_process import server_process


def logged(weights, options):
    """Lines of the log of a server whose camera is not there, after a request that is none."""
    with server_process(weights, options=["--source", "91", *options]) as process:
        host, port = process.stdout.readline().split()[3].removeprefix("http://").split(":")
        with create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            connection.recv(1000)
        lines = [process.stderr.readline(), process.stderr.readline()]
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=PATIENCE_S)
    return [*lines, *rest.splitlines(keepends=True)]


def test_every_line_is_an_object_whoever_logs(weights, monkeypatch):
    monkeypatch.setenv("SPYV4_LOG_FORMAT", "json")
    lines = [json.loads(text) for text in logged(weights, [])]
    said = {line["logger"].partition(".")[0]: line for line in lines}
    assert set(said) == {"detector_app", "uvicorn"}
    assert said["detector_app"]["level"] == "ERROR"
    assert "camera 91 cannot be opened" in said["detector_app"]["message"]
    assert said["uvicorn"]["level"] == "WARNING"
    assert said["uvicorn"]["message"] == "Invalid HTTP request received."
    for line in lines:
        assert set(line) == {"time", "level", "logger", "message"}
        age = datetime.now(UTC) - datetime.fromisoformat(line["time"])
        assert timedelta(0) <= age < timedelta(minutes=2)


def test_what_ends_the_server_is_an_object_too(weights):
    options = ["--log-format", "json", "--source", "nowhere.mp4"]
    with server_process(weights, options=options) as process:
        _, text = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    line = json.loads(text)
    assert line["level"] == "ERROR"
    assert line["message"].startswith("there is no source 'nowhere.mp4'")


@pytest.mark.parametrize("options", [[], ["--log-format", "text"]])
def test_lines_are_for_people_where_nothing_else_is_said(weights, monkeypatch, options):
    if options:  # they go before variables
        monkeypatch.setenv("SPYV4_LOG_FORMAT", "json")
    lines = logged(weights, options)
    assert "WARNING uvicorn.error: Invalid HTTP request received.\n" in lines
    ours = next(line for line in lines if line.startswith("ERROR detector_app."))
    assert "camera 91 cannot be opened" in ours
