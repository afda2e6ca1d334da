"""`spyv4-serve --ray`: replicas that answer as one server, though one dies."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from spyv4 import Detector
from tests.helpers.sessions import PATIENCE_S, wait_until
from tests.load.cluster import replica_pids

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a replica wants a core"),
]
SERVE = "import sys; from detector_app.commands.serve import serve_command as c; sys.exit(c())"


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def replicas_of(process):
    """Processes of the replicas, which Ray's node runs, which the command runs."""
    return [pid for pid in replica_pids() if parent(parent(pid)) == process.pid]


@pytest.fixture(scope="module")
def served(weights):
    command = [sys.executable, "-c", SERVE, "--ray", "--replicas", "2", "--port", "0"]
    command += ["--source", "none", "--weights", str(weights)]
    command += ["--precision", "float32"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            line = process.stdout.readline()
            assert "2 replicas" in line
            yield process, line.split()[3]
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


@pytest.fixture
def client(served):
    with httpx.Client(base_url=served[1], timeout=PATIENCE_S) as session:
        yield session


def replicas_that_answer(client):
    return client.get("/api/health").json()["replicas"]


def test_replicas_answer_as_one_server(client, weights, jpeg):
    options = {"reads": 2, "score_threshold": 0.001}
    expected = Detector.load(weights, precision="float32").detect(jpeg, **options)
    assert len(expected)
    for _ in range(4):
        answer = client.post("/detect", content=jpeg, params=options)
        assert answer.status_code == 200
        found = [one["score"] for one in answer.json()["detections"]]
        assert found == pytest.approx(expected.scores.tolist(), abs=1e-4)
    assert len(replicas_that_answer(client)) == 2
    metrics = client.get("/metrics").text
    assert "spyv4_replicas 2.0" in metrics
    assert metrics.count("spyv4_viewers{") == 2


def test_nobody_is_refused_when_a_replica_is_killed(served, client, jpeg):
    process, url = served
    wait_until(lambda: len(replicas_of(process)) == 2, "the second replica")
    stop, statuses = threading.Event(), []

    def post():
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as session:
            while not stop.is_set():
                statuses.append(session.post("/detect", content=jpeg).status_code)

    clients = [threading.Thread(target=post) for _ in range(4)]
    for each in clients:
        each.start()
    wait_until(lambda: len(statuses) > 8, "the first answers")
    killed, other = replicas_of(process)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len({*replicas_of(process)} - {killed, other}) == 1, "another replica")
    wait_until(lambda: len(replicas_that_answer(client)) == 2, "its answer")
    stop.set()
    for each in clients:
        each.join()
    assert set(statuses) == {200}


def test_ctrl_c_ends_all_of_it(served):
    process, _ = served
    pids = replicas_of(process)
    assert len(pids) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "their end")
