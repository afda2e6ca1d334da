"""How a read slows down beside busy processes, by how threads wait for each other.

    python -m training.benchmarks.neighbours --json neighbours.json

Every policy runs in a process of its own, since OpenMP reads it once. The processes take turns: in
every round each looks at a picture some times beside no, one and two processes that compute without
pause on one thread, and only the one whose turn it is does anything.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spyv4.commandline import build_parser, positive, run_command
from training.benchmarks.figures import write_json

BUSY = (0, 1, 2)
POLICIES: Mapping[str, Mapping[str, str]] = {
    "spin": {"OMP_WAIT_POLICY": "ACTIVE"},
    "sleep": {"OMP_WAIT_POLICY": "PASSIVE"},
    "default": {},
    "one thread": {"threads": "1"},
}
"""Environment of each policy; `default` is what the package sets by itself."""
_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: sum(range(10_000))"
"""Until whoever started it is gone, however that ended."""


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "python -m training.benchmarks.neighbours",
        "Time reads beside no, one and two busy processes, by thread policy.",
        "python -m training.benchmarks.neighbours --json neighbours.json",
    )
    parser.add_argument("--weights", help="name or file (the shipped default)")
    parser.add_argument("--rounds", type=positive, default=5, help="(%(default)s)")
    parser.add_argument("--reads", type=positive, default=40, help="a turn (%(default)s)")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    ways: dict[str, str] = {}
    for name, policy in POLICIES.items():
        pipes[name], far = context.Pipe()
        with _environment(policy):
            context.Process(
                target=serve, args=(arguments.weights, policy, far), daemon=True
            ).start()
        far.close()
        ways[name] = pipes[name].recv()
    times: dict[str, dict[int, list[float]]] = {name: {n: [] for n in BUSY} for name in POLICIES}
    for _ in range(arguments.rounds):
        for busy in BUSY:
            with _busy(busy):
                for name, pipe in pipes.items():
                    pipe.send(arguments.reads)
                    times[name][busy].append(pipe.recv())
    report = document(times, ways)
    write_json(arguments.json, report)
    for row in report["rows"]:
        print(f"{row['policy']:>12} {row['busy']} busy: {row['ms_per_read']:8.2f} ms a read")
    return 0


def document(
    times: Mapping[str, Mapping[int, list[float]]], ways: Mapping[str, str]
) -> dict[str, Any]:
    """The report.

    Args:
        times: milliseconds a read, by policy and number of busy processes, round by round.
        ways: how each policy's process ran the network.
    """
    rows = []
    for name, by_busy in times.items():
        for busy, values in by_busy.items():
            pairs = zip(values, times[name][0], strict=True)
            best_idle = zip(values, times["spin"][0], strict=True)
            rows.append(
                {
                    "policy": name,
                    "way": ways[name],
                    "busy": busy,
                    "ms_per_read": statistics.median(values),
                    "over_own_idle": statistics.median(v / idle for v, idle in pairs),
                    "over_idle_spin": statistics.median(v / idle for v, idle in best_idle),
                }
            )
    return {"processors": os.cpu_count(), "rows": rows}


def serve(weights: str | None, policy: Mapping[str, str], pipe: Connection) -> None:
    """In a process of its own: milliseconds a read whenever asked for so many."""
    import torch

    from spyv4 import Detector

    if "threads" in policy:
        torch.set_num_threads(int(policy["threads"]))
    detector = Detector.load(weights)
    runtime, size = detector.runtime, detector.image_size
    prepared = runtime.prepare(torch.rand(1, 3, *size))
    state = runtime.initial_state(1, size)
    for _ in range(5):
        state = runtime.step(prepared, state).state
    pipe.send(f"{runtime.description}, {torch.get_num_threads()} threads")
    while True:
        reads = pipe.recv()
        started = time.perf_counter()
        for _ in range(reads):
            state = runtime.step(prepared, state).state
        pipe.send(1000 * (time.perf_counter() - started) / reads)


@contextmanager
def _environment(policy: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.pop(name, None) for name in _VARIABLES}
    os.environ.update({name: policy[name] for name in _VARIABLES if name in policy})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _busy(count: int) -> Iterator[None]:
    command = [sys.executable, "-c", _BUSY]
    processes = [subprocess.Popen(command) for _ in range(count)]  # noqa: S603
    try:
        time.sleep(0.2 if count else 0)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
