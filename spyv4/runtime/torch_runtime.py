"""PyTorch: batch norm folded, channels last; operator by operator, or by a step built before."""

import copy
import platform
import shutil
from typing import get_args

import torch
from torch import Tensor

from spyv4.activity import summarise
from spyv4.choices import Exact
from spyv4.config import ModelConfig
from spyv4.errors import ArgumentError, RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.runtime.base import Step, StepResult
from spyv4.runtime.fused import fuse_neurons
from spyv4.runtime.int8 import quantise
from spyv4.runtime.ways import Way


def pick_device(device: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda`, or `cuda:1` for the second GPU.

    Raises:
        ArgumentError: if it is no device.
        RuntimeUnavailableError: if a GPU is asked for that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ArgumentError(f"device must be auto, cpu or cuda, not {device!r}") from error
    if chosen.type == "cuda":
        if not torch.cuda.is_available():
            raise RuntimeUnavailableError("no CUDA GPU is available here; use --device cpu")
        if (chosen.index or 0) >= (count := torch.cuda.device_count()):
            raise RuntimeUnavailableError(
                f"there is no {device} here; the last GPU is cuda:{count - 1}"
            )
    return chosen


def device_name(device: torch.device) -> str:
    """For people: the GPU, or the processor and how many threads are used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpu = torch.cpu.get_capabilities().get("cpu_name") or platform.processor()
    return f"{cpu}, {torch.get_num_threads()} threads"


class TorchRuntime:
    """Runs the network in PyTorch.

    Args:
        model: is folded, converted and owned by the runtime from here on.
        device: where to run.
        precision: of weights, potentials and activations; `int8` convolves in 8 bits (see `int8`)
            and keeps potentials in bfloat16 where there are instructions for it, else in float32.

    Raises:
        ArgumentError: if the precision is none of these.
        RuntimeUnavailableError: if 8 bits are asked for where they cannot be had.
    """

    def __init__(self, model: SPYv4, device: torch.device, *, precision: Exact = "float32") -> None:
        if precision not in get_args(Exact):
            raise ArgumentError(
                f"precision must be one of {', '.join(get_args(Exact))}, not {precision!r}"
            )
        if precision == "int8" and device.type != "cpu":
            raise RuntimeUnavailableError("8-bit convolutions run on the CPU; use --device cpu")
        self.device, self.precision = device, precision
        half = precision == "bfloat16" or (precision == "int8" and has_bfloat16(device))
        self.dtype = torch.bfloat16 if half else torch.float32
        self.model: SPYv4 = (
            model.fold()
            .requires_grad_(False)
            .to(device, self.dtype)
            .to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        )
        if precision == "int8":
            quantise(self.model, self.dtype)
        self._unfused = device.type == "cuda" and not fuse_neurons(self.model, device)
        self._step: Step | None = None

    def use(self, step: Step) -> None:
        """Make every read from now on by `step`, of the same network; at any time.

        The state is the same either way, so that reads under way go on.
        """
        self._step = step

    def eager(self) -> "TorchRuntime":
        """The same network, whose parameters it shares, operator by operator whatever is built."""
        plain = copy.copy(self)
        plain._step = None
        return plain

    @property
    def way(self) -> Way:
        """How the reads are made at the moment."""
        return Way("eager" if self._step is None else "compiled", self.precision)

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return self.model.config

    @property
    def description(self) -> str:
        """For example `torch compiled, bfloat16, channels-last, cpu`."""
        precision: str = self.precision
        if precision == "int8":
            potentials = str(self.dtype).removeprefix("torch.")
            precision = f"int8 convolutions, {potentials} potentials"
        found = f"torch {self.way.engine}, {precision}, channels-last, {self.device}"
        return f"{found}, neurons without Triton" if self._unfused else found

    def initial_state(
        self, batch: int, image_size: tuple[int, int], *, seed: int | None = None
    ) -> SPYv4State:
        """The state before the first read: rest, or random potentials drawn with `seed`."""
        generator = None
        if seed is not None:
            generator = torch.Generator(self.device).manual_seed(seed)
        return self.model.initial_state(batch, image_size, generator=generator)

    @torch.inference_mode()
    def prepare(self, images: Tensor) -> Tensor:
        """Input current of the first layer, which is the same at every read."""
        images = images.to(self.device, self.dtype, memory_format=torch.channels_last)
        return self.model.current(images)

    @torch.inference_mode()
    def step(self, prepared: Tensor, state: SPYv4State, *, activity: bool = False) -> StepResult:
        """One read of prepared images."""
        if (step := self._step) is not None:
            return step.step(prepared, state, activity=activity)
        maps, state, spikes = self.model.step_from_current(prepared, state)
        return StepResult(maps, state, summarise(spikes) if activity else None)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor or GPU has instructions for bfloat16, fast or not."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16") or features.get("bf16"))


def can_compile() -> bool:
    """Whether a C++ compiler for compiled steps is installed."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
