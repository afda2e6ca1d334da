"""What replicas bring on one machine: `python -m tests.load.replicas --json FILE`.

Serves the shipped weights by `spyv4-serve` alone, and over Ray with one and with two replicas, in
turns. Clients post a picture without pause; counted are pictures a second, how long they took, and
the processor time of each kind of process a picture.
"""

import argparse
import collections
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import cv2

from detector_app.stream.demo import DemoSource
from tests.load.cluster import SERVE, post

WAYS = {
    "spyv4-serve": (),
    "--ray --replicas 1": ("--ray", "--replicas", "1"),
    "--ray --replicas 2": ("--ray", "--replicas", "2"),
}
KINDS = {
    "ray::ServeReplica:spyv4:Replica": "replicas",
    "ray::ServeReplica:spyv4:Front": "front",
    "ray::ProxyActor": "proxy",
}
WARM_S = 10
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def served(options, threads):
    """The address of a server."""
    command = [sys.executable, "-c", SERVE, "--port", "0", "--source", "none", *options]
    if not options:
        command += ["--threads", str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().split()[3]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)


def family(leader):
    """The process and all below it: (pid, name, seconds of the processor)."""
    found, members = [], {leader}
    paths = Path("/proc").glob("[0-9]*/stat")
    for path in sorted(paths, key=lambda path: int(path.parent.name)):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            name = path.with_name("cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        except OSError:
            continue
        pid = int(path.parent.name)
        if pid in members or int(fields[1]) in members:
            members.add(pid)
            found.append((pid, name, (int(fields[11]) + int(fields[12])) / TICKS))
    return found


def used(leader, ray):
    """Seconds of the processor so far, by kind of process."""
    seconds = collections.Counter()
    for _, name, took in family(leader):
        known = [kind for start, kind in KINDS.items() if name.startswith(start)]
        seconds[known[0] if known else "Ray itself" if ray else "server"] += took
    return seconds


def measure(way, picture, clients, seconds, threads):
    options = WAYS[way]
    with served(options, threads) as (process, url):
        post(url, picture, clients, lambda: time.sleep(WARM_S) or {})
        before = used(process.pid, bool(options))

        def during():
            time.sleep(seconds)
            return {}

        facts = post(url, picture, clients, during)
        spent = used(process.pid, bool(options)) - before
    answered = facts["statuses"]["200"]
    return facts | {
        "cpu_ms_a_picture": {kind: round(1000 * s / answered, 1) for kind, s in spent.items()}
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    picture = arguments.json.with_suffix(".jpg")
    cv2.imwrite(str(picture), DemoSource().frame(0))
    rounds = collections.defaultdict(list)
    for _ in range(arguments.rounds):
        for way in WAYS:
            facts = measure(way, picture, arguments.clients, arguments.seconds, arguments.threads)
            rounds[way].append(facts)
            print(way, json.dumps(facts), flush=True)
    result = {"clients": arguments.clients, "rounds": rounds}
    result["median_per_s"] = {
        way: statistics.median(each["per_s"] for each in facts) for way, facts in rounds.items()
    }
    print(json.dumps(result["median_per_s"]))
    arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
