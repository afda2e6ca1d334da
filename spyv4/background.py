"""Builds the compiled ways in a process of its own while the network already runs, and swaps in.

The process has a lower priority than the network that it builds for, and ends with its parent.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from spyv4.engine import Network, known_step, recalled, tune
from spyv4.errors import SPYv4Error
from spyv4.runtime.choice import Choice
from spyv4.runtime.torch_runtime import TorchRuntime, can_compile
from spyv4.runtime.ways import Way
from spyv4.threads import most_threads

logger = logging.getLogger(__name__)
NICENESS = 5
"""Lower than the network that it builds for, and yet not starved by a stream without a pause."""


class Engine(NamedTuple):
    """How a network is run.

    Attributes:
        description: for people.
        build: `none`, `building`, `done` or `failed`: of the ways that are compiled ahead of time.
        read_ms: milliseconds of a read of one picture by every way that was timed on this machine,
            when it was first met.
    """

    description: str
    build: str
    read_ms: dict[str, float]


class Builder:
    """Has the compiled ways of a network built, and makes `runtime` use the one of its precision.

    Args:
        network: that the runtime runs.
        runtime: already at work.
    """

    def __init__(self, network: Network, runtime: TorchRuntime) -> None:
        self._network, self._runtime = network, runtime
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._follow, name="builder", daemon=True)
        self._choice = recalled(network)
        self.state = "done" if self._choice is not None and self._choice.complete else "none"

    @property
    def choice(self) -> Choice | None:
        """What was measured of the network so far."""
        return self._choice

    @property
    def engine(self) -> Engine:
        """How the network runs at the moment, and what is known of other ways."""
        choice = self._choice
        times = {} if choice is None else {str(way): ms for way, ms in choice.read_ms.items()}
        return Engine(self._runtime.description, self.state, times)

    def start(self) -> None:
        """Begin, unless everything is there or cannot be had; at most once."""
        if self.state != "none" or self._network.device.type != "cpu" or not can_compile():
            return
        # All that there are, not the few that are enough: what is remembered goes by these.
        threads = str(most_threads())
        size = [str(side) for side in self._network.image_size]
        command = [sys.executable, "-m", "spyv4.background", str(self._network.weights), *size]
        command += ["--threads", threads, "--first", self._runtime.precision]
        command += ["--parent", str(os.getpid())]
        self.state = "building"
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        self._thread.start()

    def stop(self) -> None:
        """End the process, if it still runs; at any time, and more than once."""
        if self._process is not None:
            self._process.terminate()
            self._thread.join(timeout=10)

    def _follow(self) -> None:
        """Take what the process reports, a line of JSON each."""
        if (process := self._process) is None or (lines := process.stdout) is None:
            return
        with lines:
            for line in lines:
                self._take(json.loads(line))
        if process.wait() != 0 and self.state == "building":
            self.state = "failed"

    def _take(self, report: dict[str, Any]) -> None:
        if "failed" in report:
            self.state = "failed"
            logger.warning("the network stays uncompiled: %s", report["failed"])
        elif "choice" in report:
            self._choice = Choice.from_mapping(report["choice"])
            self.state = "done"
            if (way := self._choice.fastest()) not in (None, self._runtime.way):
                logger.info("measured: %s is faster here, and is taken at the next start", way)
        elif report["precision"] == self._runtime.precision:
            self._swap()

    def _swap(self) -> None:
        if (step := known_step(self._network, self._runtime.precision)) is not None:
            self._runtime.use(step)
            logger.info("from now on reads are made by %s", self._runtime.description)


def main(argv: list[str] | None = None) -> int:
    """What the process does."""
    parser = argparse.ArgumentParser(prog="python -m spyv4.background")
    parser.add_argument("weights", type=Path)
    parser.add_argument("image_size", type=int, nargs=2)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--first", required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args(argv)
    os.nice(NICENESS)
    threading.Thread(target=_end_with, args=(arguments.parent,), daemon=True).start()
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    torch.set_num_threads(arguments.threads)
    height, width = arguments.image_size
    network = Network(arguments.weights, (height, width), torch.device("cpu"))
    try:
        tune(network, first=arguments.first, report=_report)
    except (SPYv4Error, OSError) as error:
        _print({"failed": str(error)})
        return 1
    return 0


def _report(news: Way | Choice) -> None:
    _print(news._asdict() if isinstance(news, Way) else {"choice": news.to_mapping()})


def _print(report: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


def _end_with(parent: int) -> None:
    """End this process when `parent` has ended, however that came about."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
