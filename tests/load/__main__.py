"""How the server stands up to load: `python -m tests.load --json FILE`.

Starts `spyv4-serve` with the shipped weights, and measures from another process on this machine:

1. the bare model: `Detector.detect` on decoded pictures in a process of its own, before and after;
2. clients that post pictures without pause: requests per second, errors, latency and its stages;
3. an attack: sockets that send pictures of 50 megapixels, and bodies of 31 MB that stay unfinished;
   resident memory before, at its peak, and after, and whether a good request is answered;
4. live streams of different reads: reads and frames per second of each, memory over time, whether
   one that changes its options is felt by the others, and what the latency is made of.
"""

import argparse
import io
import json
import math
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import cv2
import httpx
import numpy as np
from PIL import Image
from websockets.sync.client import connect

from detector_app.stream.demo import DemoSource

SERVE = "from detector_app.commands.serve import serve_command as c; c()"
BARE = """
import sys, time
import cv2
from spyv4 import Detector
detector, image = Detector.load(), cv2.imread(sys.argv[1])
reads, seconds = int(sys.argv[2]), float(sys.argv[3])
detector.detect(image, reads)
started, count = time.perf_counter(), 0
while time.perf_counter() - started < seconds:
    detector.detect(image, reads, activity=True)
    count += 1
print(count / (time.perf_counter() - started))
"""


def percentiles(values):
    """p50 and p95, rounded."""
    p50, p95 = np.percentile(values, (50, 95)) if len(values) else (math.nan, math.nan)
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1)}


def stages(rows):
    """p50 and p95 of every stage."""
    names = rows[0] if rows else ()
    return {name: percentiles([row[name] for row in rows]) for name in names}


def bare(picture, reads, seconds):
    """Pictures per second of the model alone."""
    command = [sys.executable, "-c", BARE, str(picture), str(reads), str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def cpu_s(pid):
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid):
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def post_load(url, pid, picture, clients, reads, seconds):
    """Clients that post without pause."""
    data, until = picture.read_bytes(), time.monotonic() + seconds

    def client(_):
        rows, errors = [], 0
        with httpx.Client(base_url=url, timeout=60) as session:
            while time.monotonic() < until:
                began = time.perf_counter()
                answer = session.post("/detect", content=data, params={"reads": reads})
                total_ms = 1000 * (time.perf_counter() - began)
                if answer.status_code != 200:
                    errors += 1
                    continue
                timings = answer.json()["timings_ms"]
                inside_ms = timings.pop("total")
                rest_ms = max(0.0, inside_ms - sum(timings.values()))
                rows.append(
                    {
                        "total": total_ms,
                        **timings,
                        "receive and decode": rest_ms,
                        "client and network": total_ms - inside_ms,
                    }
                )
        return rows, errors

    own, server = cpu_s(os.getpid()), cpu_s(pid)
    with ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(client, range(clients)))
    own, server = cpu_s(os.getpid()) - own, cpu_s(pid) - server
    rows = [row for found, _ in results for row in found]
    return {
        "clients": clients,
        "reads": reads,
        "seconds": seconds,
        "requests": len(rows),
        "errors": sum(errors for _, errors in results),
        "per_s": round(len(rows) / seconds, 2),
        "client_share_of_processor": round(own / (own + server), 3),
        "ms": stages(rows),
    }


def attack(url, pid, picture, sockets=40, bodies=60):
    """Memory under clients that send as much as they may."""
    buffer = io.BytesIO()
    Image.effect_noise((8000, 6250), 40).convert("RGB").save(buffer, "JPEG", quality=20)
    host, port = url.removeprefix("http://").split(":")
    before, peak, stop = resident_mib(pid), [0.0], threading.Event()

    def watch():
        while not stop.wait(0.05):
            peak[0] = max(peak[0], resident_mib(pid))

    def send(_):
        with connect(url.replace("http", "ws") + "/ws", max_size=None) as viewer:
            viewer.send(json.dumps({"type": "watch", "on": False}))
            viewer.send(buffer.getvalue())
            for data in viewer:
                message = json.loads(data) if isinstance(data, str) else {}
                if message.get("own") and message.get("read") == message.get("reads"):
                    return message["type"]  # an error has neither
        return None

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ExitStack() as stack:
        for _ in range(bodies):
            unfinished = stack.enter_context(socket.create_connection((host, int(port))))
            head = f"POST /detect HTTP/1.1\r\nHost: {host}\r\nContent-Length: 31000000\r\n\r\n"
            unfinished.settimeout(5)
            with suppress(OSError):
                unfinished.sendall(head.encode() + bytes(30_900_000))
        with ThreadPoolExecutor(sockets) as pool:
            ends = list(pool.map(send, range(sockets)))
        time.sleep(30)  # unfinished bodies are given up by then
    stop.set()
    watcher.join()
    good = httpx.post(f"{url}/detect", content=picture.read_bytes(), timeout=60)
    return {
        "sockets": sockets,
        "answered": ends.count("read"),
        "bodies": bodies,
        "resident_mib": {
            "before": round(before),
            "peak": round(peak[0]),
            "after": round(resident_mib(pid)),
        },
        "good_request": good.status_code,
    }


class Watcher(threading.Thread):
    """A live viewer with a number of reads of its own, counting what comes."""

    def __init__(self, url, reads):
        super().__init__(daemon=True)
        self.reads, self.frames, self.seen, self.wrong, self.rows = reads, 0, 0, 0, []
        self._url, self._connected = url.replace("http", "ws") + "/ws", threading.Event()

    def ask(self, reads):
        """Look so often from now on."""
        self._connected.wait()
        self.asked_at, self.reads = time.monotonic(), reads
        self.socket.send(json.dumps({"type": "settings", "reads": reads}))

    def run(self):
        with connect(self._url, max_size=None) as self.socket:
            self._connected.set()
            for data in self.socket:
                if isinstance(data, bytes):
                    shown = {"type": "shown", "frame": struct.unpack(">I", data[:4])[0]}
                    self.socket.send(json.dumps(shown))
                    continue
                message = json.loads(data)
                if message["type"] == "read":
                    self.note(message)

    def note(self, message):
        self.seen += 1
        settled = time.monotonic() - self.asked_at > 3
        self.wrong += settled and message["reads"] != self.reads
        if message["read"] == message["reads"]:
            self.frames += 1
            stage = {"sent": message["sent_ms"], "latency": message["latency_ms"]}
            self.rows.append(stage | message["timings_ms"])


def live_load(url, pid, streams, seconds):
    """Viewers of as many streams, one of which changes its options all the time."""
    watchers = [Watcher(url, 4 + index) for index in range(streams)]
    for watcher in watchers:
        watcher.start()
        watcher.ask(watcher.reads)
    time.sleep(min(20.0, seconds / 5))
    for watcher in watchers:
        watcher.frames = watcher.seen = 0
        watcher.rows.clear()
    memory, started = [], time.monotonic()
    while time.monotonic() - started < seconds:
        memory.append(resident_mib(pid))
        watchers[-1].ask(4 + streams + len(memory) % 2)
        time.sleep(5)
    elapsed = time.monotonic() - started
    rates = [watcher.seen / elapsed for watcher in watchers]
    for watcher in watchers:
        watcher.socket.close()
    rows = [row for watcher in watchers[:-1] for row in watcher.rows]
    head, tail = memory[: len(memory) // 5 or 1], memory[-(len(memory) // 5 or 1) :]
    return {
        "streams": streams,
        "seconds": round(elapsed),
        "reads_per_s": [round(rate, 2) for rate in rates],
        "frames_per_s": [round(watcher.frames / elapsed, 2) for watcher in watchers],
        "slowest_to_mean": round(min(rates) / (sum(rates) / streams), 2),
        "reads_of_anothers_number": sum(watcher.wrong for watcher in watchers[:-1]),
        "resident_mib": {
            "first_fifth": round(float(np.median(head)), 1),
            "last_fifth": round(float(np.median(tail)), 1),
            "peak": round(max(memory), 1),
        },
        "ms": stages(rows),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--reads", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60, help="of posting")
    parser.add_argument("--live-seconds", type=float, default=600)
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    picture = arguments.json.with_suffix(".jpg")
    cv2.imwrite(str(picture), DemoSource().frame(0))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    result = {"bare_per_s": [bare(picture, arguments.reads, arguments.seconds / 4)]}
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.PIPE) as server:
        server.stdout.readline()
        url = f"http://127.0.0.1:{port}"
        try:
            result["runtime"] = httpx.get(f"{url}/api/health").json()["runtime"]
            result["post"] = post_load(
                url, server.pid, picture, arguments.clients, arguments.reads, arguments.seconds
            )
            result["bare_per_s"].append(bare(picture, arguments.reads, arguments.seconds / 4))
            result["ratio"] = round(
                result["post"]["per_s"] / float(np.mean(result["bare_per_s"])), 3
            )
            result["attack"] = attack(url, server.pid, picture)
            result["live"] = live_load(url, server.pid, arguments.streams, arguments.live_seconds)
        finally:
            server.terminate()
    picture.unlink()
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
