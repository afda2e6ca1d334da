"""How replicas stand up to loss and change: `python -m tests.load.cluster --json FILE`.

Starts two Ray nodes of one core each on this machine, the second in a network namespace of its own
with an address of its own (which needs root and `ip`), deploys two replicas with the shipped
weights, and measures under 16 clients that post pictures to the first node without pause:

1. one live stream whose state is carried: whether it is for 1,000 frames;
2. a replica is killed (SIGKILL): what clients were answered, and what its streams were told;
3. other weights are rolled out: failed requests;
4. the second node is killed: what clients were answered.
"""

import argparse
import collections
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
from websockets.sync.client import connect

from detector_app.stream.demo import DemoSource
from spyv4.checkpoint import save_model
from spyv4.weights import load_weights

SERVE = "import sys; from detector_app.commands.serve import serve_command as c; sys.exit(c())"
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
CLIENTS, FRAMES = 16, 1000
NAMESPACE, HEAD, WORKER = "spyv4-worker", "10.213.0.1", "10.213.0.2"


def post(url, picture, clients, during):
    """Statuses over time of clients that post without pause while `during` runs."""
    data, stop, rows = picture.read_bytes(), threading.Event(), []

    def client():
        with httpx.Client(base_url=url, timeout=120) as session:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    answer = session.post("/detect", content=data, params={"reads": 4})
                    status = str(answer.status_code)
                    if status == "503":
                        status += " with" if "retry-after" in answer.headers else " without"
                except httpx.TransportError as error:
                    status = type(error).__name__
                rows.append((began, time.monotonic(), status))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(5)
    before = time.monotonic()
    said = during()
    stop.set()
    for thread in threads:
        thread.join()
    took = [1000 * (end - begin) for begin, end, status in rows if status == "200"]
    return {
        "clients": clients,
        "statuses": collections.Counter(status for _, _, status in rows),
        "in_flight_at_event": sum(begin <= before < end for begin, end, _ in rows),
        "last_that_failed_s_after": max(
            [round(end - before, 1) for _, end, status in rows if status != "200"], default=None
        ),
        "per_s": round(len(took) / (rows[-1][1] - rows[0][0]), 2),
        "ms": [round(float(value), 1) for value in np.percentile(took, (50, 95, 100))],
        **said,
    }


class Stream(threading.Thread):
    """A live stream whose state is carried."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.frames, self.restarts, self.notices, self.hellos, self.ended = 0, [], [], 0, None
        self.url = url.replace("http", "ws") + "/ws"

    def run(self):
        try:
            with connect(self.url, max_size=None, ping_timeout=None) as socket:
                socket.send(json.dumps({"type": "settings", "reads": 1, "carry_state": True}))
                for data in socket:
                    if isinstance(data, bytes):
                        number = struct.unpack(">I", data[:4])[0]
                        socket.send(json.dumps({"type": "shown", "frame": number}))
                        continue
                    message = json.loads(data)
                    self.hellos += message["type"] == "hello"
                    if message["type"] == "error":
                        self.notices.append(message["message"])
                    if message["type"] == "read" and message["last"]:
                        self.frames += 1
                        if message["restarted"]:
                            self.restarts.append((self.frames, message["restarted"]))
        except Exception as error:  # noqa: BLE001 - shown at the end
            self.ended = repr(error)

    def facts(self):
        return {
            "frames": self.frames,
            "hellos": self.hellos,
            "restarts": self.restarts,
            "notices": self.notices,
            "ended": self.ended,
        }


def replica_pids():
    """Processes of replicas by what Ray calls them; the front is one of another class."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            name = path.read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue
        if name.startswith("ray::ServeReplica:spyv4:Replica"):
            found.append(int(path.parent.name))
    return sorted(found)


def wait_for(condition, seconds=180):
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not come"
        time.sleep(0.2)
    return round(time.monotonic() - started, 1)


def replicas(url):
    try:
        return len(httpx.get(f"{url}/api/health", timeout=10).json().get("replicas", ()))
    except (httpx.HTTPError, ValueError):
        return 0


def make_namespace():
    """A network for the second node, joined to this one by a cable."""
    for words in (
        f"netns add {NAMESPACE}",
        f"link add spyv4-a type veth peer name spyv4-b netns {NAMESPACE}",
        f"addr add {HEAD}/24 dev spyv4-a",
        "link set spyv4-a up",
        f"-n {NAMESPACE} addr add {WORKER}/24 dev spyv4-b",
        f"-n {NAMESPACE} link set spyv4-b up",
        f"-n {NAMESPACE} link set lo up",
    ):
        subprocess.run(("ip", *words.split()), check=True)


def end_session(leader):
    """Kill a process and all of its session."""
    os.killpg(leader, signal.SIGKILL)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader:
            os.kill(int(path.parent.name), signal.SIGKILL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--port", type=int, default=8791)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--seconds", type=float, default=15)
    arguments = parser.parse_args()
    url, result = f"http://127.0.0.1:{arguments.port}", {}
    picture = arguments.json.with_suffix(".jpg")
    cv2.imwrite(str(picture), DemoSource().frame(0))

    def note(name, facts):
        result[name] = facts
        print(name, json.dumps(facts), flush=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")

    head = ["start", "--head", f"--node-ip-address={HEAD}", "--port=6479", "--num-cpus=1"]
    head.append("--include-dashboard=false")
    node = ["start", f"--address={HEAD}:6479", f"--node-ip-address={WORKER}", "--num-cpus=1"]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    started = []

    def ray(*words, inside=()):
        command = [*inside, *RAY, *words, "--block"]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        started.append(process)

    def deploy(weights):
        command = [sys.executable, "-c", SERVE, "--ray", "--ray-address", f"{HEAD}:6479"]
        command += ["--replicas", "2", "--port", str(arguments.port), "--insecure"]
        command += ["--source", "demo", "--weights", str(weights)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)

    try:
        make_namespace()
        ray(*head)
        time.sleep(10)
        ray(*node, inside=("ip", "netns", "exec", NAMESPACE))
        time.sleep(10)
        began = time.monotonic()
        deploy("spyv4-nano")
        wait_for(lambda: replicas(url) == 2)
        note("deploy_s", round(time.monotonic() - began, 1))
        note("steady", post(url, picture, CLIENTS, lambda: time.sleep(arguments.seconds) or {}))

        stream = Stream(url)
        stream.start()
        wait_for(lambda: stream.frames >= arguments.frames or stream.ended, 600)
        note("stream", stream.facts())

        streams = [Stream(url) for _ in range(3)]
        for each in streams:
            each.start()
        wait_for(lambda: all(each.frames > 3 for each in streams))

        def kill():
            pids = replica_pids()
            os.kill(pids[0], signal.SIGKILL)
            wait_for(lambda: len(set(replica_pids()) - {pids[0]}) == 2)
            back_s = wait_for(lambda: replicas(url) == 2)
            time.sleep(3)
            return {"another_replica_s": back_s}

        note("killed", post(url, picture, CLIENTS, kill))
        note("streams_of_killed", [each.facts() for each in [stream, *streams]])

        other = arguments.json.with_suffix(".safetensors")
        model = load_weights("spyv4-nano")
        save_model(model, other)

        def roll():
            before, began = set(replica_pids()), time.monotonic()
            deploy(other)
            wait_for(lambda: not before & set(replica_pids()) and replicas(url) == 2)
            time.sleep(3)
            return {"rollout_s": round(time.monotonic() - began, 1)}

        note("rolled_out", post(url, picture, CLIENTS, roll))

        def lose():
            end_session(started[1].pid)
            time.sleep(30)
            return {"replicas_left": replicas(url)}

        note("node_lost", post(url, picture, CLIENTS, lose))
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)
        subprocess.run(("ip", "netns", "delete", NAMESPACE), check=False)


if __name__ == "__main__":
    main()
