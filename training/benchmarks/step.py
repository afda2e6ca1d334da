"""Speed and memory of a training step, against the plainest way to do the same.

    python -m training.benchmarks.step --json step.json
    python -m training.benchmarks.step --model spyv4-nano --image-size 256 256 --batch-size 32 \
        --json nano.json

Both train the same network by FPTT on the same batch, each in a process of its own, batch by batch
in turns, so that a machine that is slow for a while is slow for both. The plain one runs in
float32, eager, with its pictures channels first, and updates parameter by parameter in Python.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from spyv4.commandline import build_parser, positive, run_command
from spyv4.config import MODEL_PRESETS
from spyv4.runtime.torch_runtime import device_name, pick_device
from training.benchmarks.figures import write_json
from training.benchmarks.step_ways import Task, ours, plain
from training.memory import mebibytes

PEAK_SIDE, PEAK_ROUNDS = 2048, 8
LIMITS = {("spyv4", "bfloat16"): 2.5, ("spyv4", "float32"): 1.6}
"""The least ratio that is wanted, by network and by the precision that is faster here."""
OTHER_LIMIT = 2.0


class Result(NamedTuple):
    """What one way to train takes.

    Attributes:
        description: the way.
        seconds: of a step, round by round.
        peak_mib: largest memory of the process, or of the GPU.
        operations: floating-point operations of a step, by its convolutions.
        peak_flops: operations a second of a large matrix product in the same precision.
    """

    description: str
    seconds: list[float]
    peak_mib: float
    operations: float
    peak_flops: float

    @property
    def median_s(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.seconds)

    @property
    def share_of_peak(self) -> float:
        """Of what the matrix product reaches."""
        return self.operations / self.median_s / self.peak_flops


WAYS = {"ours": ours, "plain": plain}


def serve(way: str, task: Task, pipe: Connection) -> None:
    """In a process of its own: a step and its seconds whenever asked for; then the rest."""
    step, _, description, dtype = WAYS[way](task)
    device = pick_device(task.device)

    def timed() -> float:
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    with FlopCounterMode(display=False) as counter:
        if way == "plain":  # a compiled step cannot be counted; it convolves as often
            step()
    for _ in range(2):  # compiles, and finds its memory
        step()
    pipe.send(None)
    while pipe.recv():
        pipe.send(timed())
    peak = mebibytes("VmHWM:")
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    pipe.send((description, peak, counter.get_total_flops(), matmul_flops(device, dtype)))


def matmul_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product, the best of some."""
    a, b = (torch.randn(PEAK_SIDE, PEAK_SIDE, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(PEAK_ROUNDS):
        started = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * PEAK_SIDE**3 / best


def compare(task: Task, rounds: int) -> dict[str, Result]:
    """Both ways in turns."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for way in WAYS:
        pipes[way], far = context.Pipe()
        context.Process(target=serve, args=(way, task, far), daemon=True).start()
        far.close()  # so that a process that dies is noticed
        pipes[way].recv()  # one after the other, so that compiling disturbs nobody
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, pipe in pipes.items():
            pipe.send(True)
            seconds[way].append(pipe.recv())
    results = {}
    for way, pipe in pipes.items():
        pipe.send(False)
        description, *rest = pipe.recv()
        results[way] = Result(description, seconds[way], *rest)
    counted = results["plain"].operations
    return {way: result._replace(operations=counted) for way, result in results.items()}


def document(task: Task, results: dict[str, Result]) -> dict[str, Any]:
    """What was measured, for programs."""
    mine, other = results["ours"], results["plain"]
    faster = "bfloat16" if "bfloat16" in mine.description else "float32"
    ratios = [b / a for a, b in zip(mine.seconds, other.seconds, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "limit": LIMITS.get((task.model, faster), OTHER_LIMIT),
        "memory_ratio": mine.peak_mib / other.peak_mib,
        "machine": device_name(pick_device(task.device)),
        "task": task._asdict(),
        "ways": {
            way: result._asdict()
            | {
                "images_per_s": task.batch_size / result.median_s,
                "share_of_peak": result.share_of_peak,
            }
            for way, result in results.items()
        },
    }


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "training.benchmarks.step",
        "Measure a training step against a plain one: eager, float32, updates in a Python loop.",
        "python -m training.benchmarks.step --json step.json",
    )
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--model", choices=list(MODEL_PRESETS), default="spyv4")
    parser.add_argument("--image-size", type=int, nargs=2, default=(416, 416))
    parser.add_argument("--batch-size", type=positive, default=8)
    parser.add_argument("--reads", type=positive, default=2, help="of a picture (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=5, help="steps timed (%(default)s)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    return run_command(parser, _main, argv)


def _main(arguments: argparse.Namespace) -> int:
    task = Task(
        arguments.model,
        tuple(arguments.image_size),
        arguments.batch_size,
        arguments.reads,
        arguments.device,
    )
    results = compare(task, arguments.rounds)
    found = document(task, results)
    write_json(arguments.json, found)
    for way, result in results.items():
        print(
            f"{way:6}{task.batch_size / result.median_s:7.1f} images/s, peak "
            f"{result.peak_mib:5.0f} MiB, {100 * result.share_of_peak:3.0f} % of a matrix "
            f"product's {result.peak_flops / 1e9:.0f} GFLOP/s ({result.description})"
        )
    print(f"ratio {found['ratio']:.2f} (wanted: {found['limit']:.1f}) on {found['machine']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
