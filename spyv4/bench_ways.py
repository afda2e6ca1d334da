"""Opens a network by every way that a machine has, to time them."""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from spyv4 import engine
from spyv4.bench import (
    Chosen,
    Workload,
    describe,
    matmul_peaks,
    time_runtimes,
    with_shares,
)
from spyv4.checkpoint import read_config
from spyv4.choices import Exact
from spyv4.config import ModelConfig, model_preset
from spyv4.errors import RuntimeUnavailableError
from spyv4.extras import require_extra
from spyv4.network.spyv4 import SPYv4
from spyv4.runtime.base import Runtime, Step
from spyv4.runtime.choice import Choice, choose, precisions
from spyv4.runtime.cuda_graph import has_graphs, record_step
from spyv4.runtime.step_compiler import compile_step
from spyv4.runtime.step_package import StepPackage
from spyv4.runtime.torch_runtime import TorchRuntime, can_compile, device_name
from spyv4.runtime.ways import Way
from spyv4.weights import find_weights, load_weights, measured_precisions

Tell = Callable[[str], None]


class Subject(NamedTuple):
    """The network that is timed.

    Attributes:
        model: name of a network, whose parameters are drawn; None for weights.
        weights: name or file; None for the shipped default.
    """

    model: str | None
    weights: str | None

    @property
    def config(self) -> ModelConfig:
        """Of the network."""
        if self.model is not None:
            return model_preset(self.model)
        return read_config(find_weights(self.weights))

    def build(self) -> SPYv4:
        """The network, always the same."""
        if self.model is None:
            return load_weights(self.weights)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return SPYv4(self.config).eval()

    def allowed(self, found: tuple[Exact, ...]) -> tuple[Exact, ...]:
        """What the automatic choice may take: random parameters have no mAP to lose."""
        if self.model is not None or "int8" in measured_precisions(find_weights(self.weights)):
            return found
        return tuple(each for each in found if each != "int8")


def measure(
    subject: Subject,
    image_size: tuple[int, int],
    device: torch.device,
    options: argparse.Namespace,
    *,
    tell: Tell,
) -> dict[str, Any]:
    """Time every way that this machine has.

    Args:
        subject: the network.
        image_size: (height, width) in pixels.
        device: where to run.
        options: of `spyv4-bench`.
        tell: is told what is being built.
    """
    found = precisions(device, int8=True)
    work = Workload(image_size, options.batch_size, options.reads, options.rounds)
    with tempfile.TemporaryDirectory(prefix="spyv4-bench-") as folder:
        opening = _Opening(subject, image_size, device, Path(folder), tell)
        runtimes = opening.every_way(found, options)
        allowed = subject.allowed(found)
        fit = {w: r for w, r in runtimes.items() if w.engine != "onnx" and w.precision in allowed}
        compiled = not options.no_compiled
        choice = opening.tuned or choose(fit, image_size, device, complete=compiled)
        chosen = None if (way := choice.fastest()) is None else Chosen(way, choice.threads)
        timings = time_runtimes(subject.build(), runtimes, work, device, chosen)
    peaks = matmul_peaks(device, found)
    gflop = describe(subject.config, image_size)["gflop_per_read"]
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "batch_size": work.batch,
        "choice": choice.to_mapping(),
        "chosen": None if chosen is None else str(chosen.way),
        "threads": choice.threads,
        "peaks": peaks,
        "timings": [t._asdict() for t in with_shares(timings, gflop, work.batch, peaks)],
    }


class _Opening:
    """Opens a network by every way.

    Args:
        subject: the network.
        image_size: (height, width) in pixels.
        device: where to run.
        folder: for what is built and not kept.
        tell: is told what is being built.
    """

    def __init__(
        self,
        subject: Subject,
        image_size: tuple[int, int],
        device: torch.device,
        folder: Path,
        tell: Tell,
    ) -> None:
        self._subject, self._size, self._device = subject, image_size, device
        self._folder, self._tell = folder, tell
        self.tuned: Choice | None = None

    def every_way(
        self, found: tuple[Exact, ...], options: argparse.Namespace
    ) -> dict[Way, Runtime]:
        """The runtimes, the simplest and most exact first."""
        runtimes: dict[Way, Runtime] = {}
        for precision in found:
            runtimes[Way("eager", precision)] = self._eager(precision)
        if not options.no_compiled:
            if not has_graphs(self._device) and not can_compile():
                raise RuntimeUnavailableError(
                    "compiling needs a C++ compiler (g++); use --no-compiled"
                )
            runtimes |= self._compiled(found, retune=options.retune)
        if not options.no_onnx:
            require_extra("onnx", "timings of ONNX Runtime (unless --no-onnx)")
            from spyv4.runtime.onnx_export import OnnxPrecision
            from spyv4.runtime.onnx_runtime import export_and_load

            self._tell("exporting for ONNX Runtime ...")
            exported: tuple[OnnxPrecision, ...] = (
                ("float32", "int8") if "int8" in found else ("float32",)
            )
            for precision in exported:
                runtimes[Way("onnx", precision)] = export_and_load(
                    self._subject.build(), self._size, self._device.type, precision=precision
                )
        return runtimes

    def _eager(self, precision: Exact) -> TorchRuntime:
        return TorchRuntime(self._subject.build(), self._device, precision=precision)

    def _compiled(self, found: tuple[Exact, ...], *, retune: bool) -> dict[Way, Runtime]:
        """With the steps of weights kept for later starts, and the choice with them."""
        network = None
        if self._subject.model is None:
            path = find_weights(self._subject.weights)
            network = engine.Network(path, self._size, self._device)
            if retune:
                engine.forget(network)
            self._tell("building what is not there yet, and measuring ...")
            self.tuned = engine.tune(network)
        runtimes: dict[Way, Runtime] = {}
        for precision in found:
            runtime = self._eager(precision)
            runtime.use(self._step(network, runtime))
            runtimes[runtime.way] = runtime
        return runtimes

    def _step(self, network: engine.Network | None, runtime: TorchRuntime) -> Step:
        """Of weights, what `tune` built; of random parameters, one that is not kept."""
        if has_graphs(self._device):
            return record_step(runtime, self._size)
        step = None if network is None else engine.known_step(network, runtime.precision)
        if step is None:
            self._tell(f"compiling in {runtime.precision} (a minute) ...")
            compile_step(runtime, self._size, self._folder / runtime.precision)
            step = StepPackage(self._folder / runtime.precision)
        return step
