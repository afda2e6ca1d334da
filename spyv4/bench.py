"""What a network costs: size, arithmetic, and time a read by every way of running it."""

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from spyv4.config import ModelConfig
from spyv4.errors import RuntimeUnavailableError
from spyv4.extras import require_extra
from spyv4.network.spyv4 import SPYv4
from spyv4.network.table import LAYER_NAMES
from spyv4.runtime.base import Runtime
from spyv4.runtime.int8 import has_fast_int8
from spyv4.runtime.precision import has_bfloat16
from spyv4.runtime.torch_runtime import TorchRuntime, can_compile

REFERENCE = "plain eager float32"


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
        name: the way.
        ms_per_read: median over the rounds, for the whole batch.
        speedup: time of the plain eager float32 network, measured beside it, over this one's;
            median over the rounds.
    """

    name: str
    ms_per_read: float
    speedup: float


def time_runtimes(
    model: Callable[[], SPYv4],
    image_size: tuple[int, int],
    *,
    batch: int,
    reads: int,
    rounds: int,
    device: torch.device,
    with_onnx: bool,
    with_compiled: bool,
) -> list[Timing]:
    """Time every available way of running a network, in turns, so that all meet the same noise.

    Args:
        model: makes the network.
        image_size: (height, width) in pixels.
        batch: pictures at once.
        reads: reads a round.
        rounds: measured rounds; two more go before.
        device: where to run.
        with_onnx: whether to time ONNX Runtime.
        with_compiled: whether to time the compiled network.

    Returns:
        One timing a way, the plain eager float32 network first.
    """
    images = torch.rand(batch, 3, *image_size, generator=torch.Generator().manual_seed(0))
    ways: dict[str, Callable[[], None]] = {
        REFERENCE: _plain(model().eval().to(device), images.to(device), reads)
    }
    for runtime in _runtimes(model, image_size, device, with_onnx, with_compiled):
        ways[runtime.description] = _looped(runtime, images, image_size, reads)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(rounds + 2):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if round_number >= 2:
                times[name].append((time.perf_counter() - started) * 1000 / reads)
    timings = []
    for name, values in times.items():
        ratios = [plain / own for plain, own in zip(times[REFERENCE], values, strict=True)]
        timings.append(Timing(name, statistics.median(values), statistics.median(ratios)))
    return timings


def _runtimes(
    model: Callable[[], SPYv4],
    image_size: tuple[int, int],
    device: torch.device,
    with_onnx: bool,
    with_compiled: bool,
) -> list[Runtime]:
    """Every way that this machine offers."""
    if with_compiled and device.type == "cpu" and not can_compile():
        raise RuntimeUnavailableError("compiling needs a C++ compiler (g++); use --no-compiled")
    runtimes: list[Runtime] = [TorchRuntime(model(), device, precision="float32")]
    if has_bfloat16(device):
        runtimes.append(TorchRuntime(model(), device, precision="bfloat16"))
    with_int8 = device.type == "cpu" and has_fast_int8()
    if with_int8:
        runtimes.append(TorchRuntime(model(), device, precision="int8"))
    if with_compiled:
        runtimes.append(TorchRuntime(model(), device, compile_step=True))
    if with_compiled and with_int8:
        runtimes.append(TorchRuntime(model(), device, precision="int8", compile_step=True))
    if with_onnx:
        require_extra("onnx", "timings of ONNX Runtime (unless --no-onnx)")
        from spyv4.runtime.onnx_runtime import export_and_load

        runtimes.append(export_and_load(model(), image_size, device.type))
    return runtimes


def _plain(model: SPYv4, images: Tensor, reads: int) -> Callable[[], None]:
    """The network as it is written: no folding, no layout, no compilation."""

    @torch.inference_mode()
    def way() -> None:
        state = model.initial_state(len(images), (images.shape[2], images.shape[3]))
        for _ in range(reads):
            _, state = model.step(images, state)

    return way


def _looped(
    runtime: Runtime, images: Tensor, image_size: tuple[int, int], reads: int
) -> Callable[[], None]:
    def way() -> None:
        prepared = runtime.prepare(images)
        state = runtime.initial_state(len(images), image_size)
        for _ in range(reads):
            state = runtime.step(prepared, state).state

    return way
