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
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, cast

import torch
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from spyv4.commandline import build_parser, positive, run_command
from spyv4.config import MODEL_PRESETS, model_preset
from spyv4.network.spyv4 import SPYv4
from spyv4.runtime.torch_runtime import device_name, pick_device
from spyv4.validation import from_mapping, to_mapping
from training.allocator import keep_freed_memory
from training.benchmarks.figures import write_json
from training.benchmarks.memory import mebibytes
from training.config import TrainingConfig
from training.data import Batch, TrainingLoader
from training.loop import Trainer
from training.loss import build_loss
from training.precision import faster_training
from training.run_state import RunState
from training.runs import RunFolder

PEAK_SIDE, PEAK_ROUNDS = 2048, 8
OBJECTS = 3
LIMITS = {("spyv4", "bfloat16"): 2.5, ("spyv4", "float32"): 1.6}
"""The least ratio that is wanted, by network and by the precision that is faster here."""
OTHER_LIMIT = 2.0


class Task(NamedTuple):
    """What is measured.

    Attributes:
        model: name of the network.
        image_size: (height, width) in pixels.
        batch_size: pictures a step.
        reads: of every picture, with an update after each.
        device: where.
    """

    model: str
    image_size: tuple[int, int]
    batch_size: int
    reads: int
    device: str

    @property
    def config(self) -> TrainingConfig:
        """Of the training, in float32."""
        model = to_mapping(model_preset(self.model).resized(self.image_size))
        settings = {"model": model, "epochs": 1, "batch_size": self.batch_size}
        settings |= {"reads": self.reads, "precision": "float32"}
        return from_mapping(TrainingConfig, settings)

    def batch(self) -> Batch:
        """Noise, with some objects a picture."""
        torch.manual_seed(1)
        images = torch.randint(0, 255, (self.batch_size, 3, *self.image_size), dtype=torch.uint8)
        count = OBJECTS * self.batch_size
        height, width = self.image_size
        sides = torch.tensor([width, height, width, height])
        targets = torch.empty(count, 6)
        targets[:, 0] = torch.arange(count) // OBJECTS
        targets[:, 1] = torch.randint(0, 20, (count,))
        targets[:, 2:] = (0.2 + 0.5 * torch.rand(count, 4)) * sides
        return Batch(images, targets)


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


class Way(NamedTuple):
    """A way to train.

    Attributes:
        step: trains on the batch.
        model: what is trained.
        description: the way.
        dtype: of its convolutions.
    """

    step: Callable[[], object]
    model: SPYv4
    description: str
    dtype: torch.dtype


def ours(task: Task) -> Way:
    """The product's step, as `spyv4-train` runs it here."""
    keep_freed_memory()
    precision = faster_training(SPYv4(task.config.model).to(pick_device(task.device)))
    return trainer_step(task, precision, compile_step=True)


def trainer_step(
    task: Task, precision: Literal["bfloat16", "float32"], *, compile_step: bool
) -> Way:
    """The product's step in a given precision."""
    device = pick_device(task.device)
    torch.manual_seed(0)
    model = SPYv4(task.config.model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    config = from_mapping(TrainingConfig, to_mapping(task.config) | {"precision": precision})
    loader = SimpleNamespace(steps_per_epoch=2**20, fingerprint="", teacher=None)
    state = RunState(model, cast("TrainingLoader", loader), config)
    trainer = Trainer(
        state, cast("TrainingLoader", loader), RunFolder(Path()), compile_step=compile_step
    )
    state.train_mode()
    batch = task.batch()
    if device.type == "cuda":
        batch = batch._replace(images=batch.images.pin_memory())
    what = f"{precision}, channels last, foreach update"
    if compile_step:
        what = f"compiled, {what}"
    return Way(lambda: trainer.train_batch(batch), model, what, getattr(torch, precision))


def plain(task: Task) -> Way:
    """FPTT written down as the equations stand, in float32."""
    device = pick_device(task.device)
    torch.manual_seed(0)
    config = task.config
    model = SPYv4(config.model).to(device)
    loss = build_loss(config.model, config.loss)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=1e-3, foreach=False)
    weights = list(model.parameters())
    means = [w.detach().clone() for w in weights]
    multipliers = [torch.zeros_like(w) for w in weights]
    alpha, beta = config.learner.alpha, config.learner.beta
    batch = task.batch()

    def step() -> None:
        images = batch.images.to(device).float() / 255
        targets = batch.targets.to(device)
        state = model.initial_state(len(images), task.image_size)
        for _ in range(task.reads):
            state = tree_map(torch.Tensor.detach, state)
            maps, state = model.step(images, state)
            total = loss(maps, loss.assign(maps, targets), targets).total
            for w, mean, multiplier in zip(weights, means, multipliers, strict=True):
                total = total - (w * multiplier).sum() + alpha / 2 * (w - mean).square().sum()
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, config.learner.gradient_clip, foreach=False)
            optimizer.step()
            with torch.no_grad():
                for w, mean, multiplier in zip(weights, means, multipliers, strict=True):
                    multiplier -= alpha * (w - mean)
                    mean.mul_(1 - beta).add_(beta * w).sub_(beta / alpha * multiplier)

    model.train()
    what = "eager, float32, channels first, update in a Python loop"
    return Way(step, model, what, torch.float32)


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
