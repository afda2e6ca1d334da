"""What a network costs: size, arithmetic, and time a read by every way of running it."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from spyv4.choices import Exact
from spyv4.config import ModelConfig
from spyv4.network.spyv4 import SPYv4
from spyv4.network.table import LAYER_NAMES
from spyv4.runtime.base import Runtime
from spyv4.runtime.ways import Way
from spyv4.threads import with_threads

REFERENCE = "plain eager float32"
PEAK_SIDES, PEAK_ROUNDS = {"cpu": 2048, "cuda": 8192}, 8
"""Sides of the matrices: a GPU is done with small ones before the next is launched."""


def describe(config: ModelConfig, image_size: tuple[int, int]) -> dict[str, Any]:
    """Size and arithmetic of a network, counted on the network itself without running it.

    Args:
        config: the network.
        image_size: (height, width) in pixels, multiples of 32.

    Returns:
        `parameters`, `neurons`, `spiking_layers`, and `gflop_per_read` (10^9 floating-point
        operations of the convolutions for one picture, a multiply and an add counted as two).
    """
    with torch.device("meta"):
        model = SPYv4(config).eval()
        state = model.initial_state(1, image_size)
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            _, _, spikes = model.step_from_current(
                model.current(torch.empty(1, 3, *image_size)), state
            )
    return {
        "model": config.name,
        "image_size": list(image_size),
        "parameters": sum(p.numel() for p in model.parameters()),
        "neurons": sum(s.numel() for s in spikes.values()),
        "spiking_layers": len(LAYER_NAMES),
        "gflop_per_read": round(counter.get_total_flops() / 1e9, 2),
    }


class Timing(NamedTuple):
    """Time of one way of running a network.

    Attributes:
        name: the way, as `str` of a `Way` gives it, `REFERENCE`, or what is chosen.
        ms_per_read: median over the rounds, for the whole batch.
        speedup: time of the plain eager float32 network, measured beside it, over this one's;
            median over the rounds.
        share_of_peak: operations a second of its convolutions over those of a large matrix product
            in the same precision, 0..1; None where that was not measured.
    """

    name: str
    ms_per_read: float
    speedup: float
    share_of_peak: float | None = None


class Chosen(NamedTuple):
    """What `auto` runs on this machine.

    Attributes:
        way: engine and precision.
        threads: that commands compute with; every other way is timed with all that there are.
    """

    way: Way
    threads: int

    def __str__(self) -> str:
        return f"chosen: {self.way}, threads: {self.threads}"


class Workload(NamedTuple):
    """What is timed.

    Attributes:
        image_size: (height, width) in pixels.
        batch: pictures at once.
        reads: reads a round.
        rounds: measured rounds; two more go before.
    """

    image_size: tuple[int, int]
    batch: int
    reads: int
    rounds: int


def time_runtimes(
    plain: SPYv4,
    runtimes: Mapping[Way, Runtime],
    work: Workload,
    device: torch.device,
    chosen: Chosen | None = None,
) -> list[Timing]:
    """Time ways of running a network, in turns, so that all meet the same noise.

    Args:
        plain: the network as it is written: no folding, no layout, no compilation.
        runtimes: of the same network.
        work: what they are given to do.
        device: where they run.
        chosen: one of the ways, to be timed as it is run where nobody asks for anything.

    Returns:
        One timing a way, the plain eager float32 network first, what is chosen last.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(work.batch, 3, *work.image_size, generator=generator)
    ways = {REFERENCE: _plain(plain.eval().to(device), images.to(device), work.reads)}
    for way, runtime in runtimes.items():
        ways[str(way)] = _looped(runtime, images, work)
    if chosen is not None:
        ways[str(chosen)] = with_threads(chosen.threads, ways[str(chosen.way)])
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(work.rounds + 2):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_number >= 2:
                times[name].append((time.perf_counter() - started) * 1000 / work.reads)
    timings = []
    for name, values in times.items():
        ratios = [plain / own for plain, own in zip(times[REFERENCE], values, strict=True)]
        timings.append(Timing(name, statistics.median(values), statistics.median(ratios)))
    return timings


def with_shares(
    timings: Sequence[Timing], gflop: float, batch: int, peaks: Mapping[Exact, float]
) -> list[Timing]:
    """Timings with their share of the machine's peak.

    Args:
        timings: of `time_runtimes`.
        gflop: of one read of one picture.
        batch: pictures at once.
        peaks: of `matmul_peaks`, 10^9 operations a second.
    """
    shared = []
    for timing in timings:
        reached = gflop * batch / timing.ms_per_read * 1000
        peak = next(rate for precision, rate in peaks.items() if precision in timing.name)
        shared.append(timing._replace(share_of_peak=reached / peak))
    return shared


def matmul_peaks(device: torch.device, precisions: Sequence[Exact]) -> dict[Exact, float]:
    """Operations a second of a product of large square matrices, the best of some; in 10^9."""
    rates: dict[Exact, float] = {}
    for precision in precisions:
        side = PEAK_SIDES[device.type]
        product = _product(device, precision, side)
        best = float("inf")
        for _ in range(PEAK_ROUNDS):
            started = time.perf_counter()
            product()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - started)
        rates[precision] = 2 * side**3 / best / 1e9
    return rates


def _product(device: torch.device, precision: Exact, side: int) -> Callable[[], Tensor]:
    shape = (side, side)
    if precision != "int8":
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        a, b = (torch.randn(shape, device=device, dtype=dtype) for _ in range(2))
        return lambda: a @ b
    steps = torch.randint(0, 127, shape, dtype=torch.uint8)
    weights = torch.randint(-127, 127, shape, dtype=torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(weights, list(shape))
    scale, zero = torch.ones(side), torch.zeros(side, dtype=torch.int32)

    def product() -> Tensor:
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            steps, 1.0, 0, packed, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return y

    return product


def _plain(model: SPYv4, images: Tensor, reads: int) -> Callable[[], None]:
    """The network as it is written."""

    @torch.inference_mode()
    def run() -> None:
        state = model.initial_state(len(images), (images.shape[2], images.shape[3]))
        for _ in range(reads):
            _, state = model.step(images, state)

    return run


def _looped(runtime: Runtime, images: Tensor, work: Workload) -> Callable[[], None]:
    def run() -> None:
        prepared = runtime.prepare(images)
        state = runtime.initial_state(len(images), work.image_size)
        for _ in range(work.reads):
            state = runtime.step(prepared, state).state

    return run
