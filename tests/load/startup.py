"""How soon commands answer, and what a server holds: `python -m tests.load.startup --json FILE`.

Measures, every one in new processes of this machine:

1. `--help` of every console script, `import spyv4`, `from spyv4 import Detector`: seconds of wall
   time, and of the processor, which tell more beside other work;
2. `spyv4-detect PICTURE` with the shipped weights: seconds until its boxes are printed;
3. `spyv4-serve`: seconds until /api/health answers; resident and proportional memory at rest, after
   every quarter of the requests that some clients post without pause, and ten seconds later.

Rounds go through all of 1 and 2 before the next begins, so that a busy moment hits them alike; the
first round only warms the disk.
"""

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import httpx

from detector_app.stream.demo import DemoSource

ROOT = Path(__file__).parents[2]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def script(name):
    """What the console script `name` runs, as a command."""
    module, function = SCRIPTS[name].split(":")
    code = (
        f"import sys; from {module} import {function} as c; sys.argv[0] = {name!r}; sys.exit(c())"
    )
    return [sys.executable, "-c", code]


def answer_s(command):
    """Seconds until a command ends."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def first_line_s(command):
    """Seconds until a command prints its first line."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        line = process.stdout.readline()
        taken_s = time.perf_counter() - started
    if process.returncode or not line:
        raise RuntimeError(f"{command[-1]} failed")
    return taken_s


def commands(picture, folder):
    """What is timed, and how."""
    python = [sys.executable, "-c"]
    named = {f"{name} --help": ([*script(name), "--help"], answer_s) for name in SCRIPTS}
    named["import spyv4"] = ([*python, "import spyv4"], answer_s)
    named["from spyv4 import Detector"] = ([*python, "from spyv4 import Detector"], answer_s)
    detect = [*script("spyv4-detect"), str(picture), "--output", str(folder)]
    named["spyv4-detect PICTURE, first box"] = (detect, first_line_s)
    return named


def processor_s():
    """Seconds that all commands so far took of processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timings(picture, folder, rounds):
    """Median and least seconds of every command, and the median of its processor seconds."""
    named = commands(picture, folder)
    taken = {name: [] for name in named}
    for number in range(rounds + 1):
        for name, (command, measure) in named.items():
            before = processor_s()
            seconds = measure(command)
            if number:
                taken[name].append((seconds, processor_s() - before))
    result = {}
    for name, each in taken.items():
        wall, processor = zip(*each, strict=True)
        result[name] = {
            "median_s": round(statistics.median(wall), 3),
            "least_s": round(min(wall), 3),
            "processor_s": round(statistics.median(processor), 3),
        }
    return result


def memory_mib(pid):
    """Resident and proportional memory of a process."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {row.split(":")[0]: int(row.split()[1]) for row in rows}
    return {"rss": round(kib["Rss"] / 1024), "pss": round(kib["Pss"] / 1024)}


def post(url, data, requests):
    """One client."""
    with httpx.Client(base_url=url, timeout=60) as session:
        for _ in range(requests):
            session.post("/detect", content=data).raise_for_status()


def ready_s(url, server):
    """Seconds from now until a server answers."""
    started = time.perf_counter()
    while server.poll() is None:
        try:
            httpx.get(f"{url}/api/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.01)
        else:
            return time.perf_counter() - started
    raise RuntimeError("the server ended")


def serve(picture, clients, requests):
    """A server from its start to its last request."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, data = f"http://127.0.0.1:{port}", picture.read_bytes()
    command = [*script("spyv4-serve"), "--port", str(port), "--source", "none"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            result = {"ready_s": round(ready_s(url, server), 3)}
            result["runtime"] = httpx.get(f"{url}/api/health").json()["runtime"]
            time.sleep(10)
            memory = {"at rest": memory_mib(server.pid)}
            started = time.perf_counter()
            for quarter in range(1, 5):
                with ThreadPoolExecutor(clients) as pool:
                    share = requests // 4 // clients
                    for future in [pool.submit(post, url, data, share) for _ in range(clients)]:
                        future.result()
                memory[f"after {quarter * share * clients}"] = memory_mib(server.pid)
            result["requests_per_s"] = round(
                4 * share * clients / (time.perf_counter() - started), 2
            )
            time.sleep(10)
            memory["ten seconds later"] = memory_mib(server.pid)
            return result | {"clients": clients, "memory_mib": memory}
        finally:
            server.terminate()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--requests", type=int, default=1000, help="0 for no server")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture = folder / "demo.jpg"
        cv2.imwrite(str(picture), DemoSource().frame(0))
        result = {"load_average": os.getloadavg()[0]}
        result["commands"] = timings(picture, folder / "out", arguments.rounds)
        if arguments.requests:
            result["server"] = serve(picture, arguments.clients, arguments.requests)
    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
