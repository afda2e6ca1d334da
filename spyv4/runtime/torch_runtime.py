"""PyTorch: batch norm folded, channels last, bfloat16 where it is faster."""

import platform
import shutil
from typing import get_args

import torch
from torch import Tensor

from spyv4.activity import Activity, summarise
from spyv4.choices import Precision
from spyv4.config import ModelConfig
from spyv4.errors import ArgumentError, RuntimeUnavailableError
from spyv4.network.readout import Maps
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.runtime.base import StepResult
from spyv4.runtime.int8 import quantise
from spyv4.runtime.precision import faster_precision


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
        precision: of weights, potentials and activations; `auto` takes bfloat16 where a few
            reads show that it is faster here; `int8` convolves in 8 bits (see `int8`) and keeps
            potentials as `auto` does.
        compile_step: compile the step with `torch.compile`; needs a C++ compiler on the CPU and
            takes about a minute at the first read of every batch size.

    Raises:
        ArgumentError: if the precision is none of these.
        RuntimeUnavailableError: if compilation is asked for without a compiler.
    """

    def __init__(
        self,
        model: SPYv4,
        device: torch.device,
        *,
        precision: Precision = "auto",
        compile_step: bool = False,
    ) -> None:
        if precision not in get_args(Precision):
            raise ArgumentError(
                f"precision must be one of {', '.join(get_args(Precision))}, not {precision!r}"
            )
        if compile_step and device.type == "cpu" and not can_compile():
            raise RuntimeUnavailableError("compiling needs a C++ compiler (g++); install one")
        if precision == "int8" and device.type != "cpu":
            raise RuntimeUnavailableError("8-bit convolutions run on the CPU; use --device cpu")
        self.device = device
        self.quantised = precision == "int8"
        folded: SPYv4 = (
            model.fold().requires_grad_(False).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        )
        named = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        self.dtype = named.get(precision) or faster_precision(folded, device)
        self.model = folded.to(self.dtype)
        if self.quantised:
            quantise(self.model, self.dtype)
        self.compiled = compile_step
        self._step = torch.compile(self._plain_step) if compile_step else self._plain_step
        self._step_with_activity = (
            torch.compile(self._activity_step) if compile_step else self._activity_step
        )

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return self.model.config

    @property
    def description(self) -> str:
        """For example `torch compiled, bfloat16, channels-last, cpu`."""
        mode = "compiled" if self.compiled else "eager"
        precision = str(self.dtype).removeprefix("torch.")
        if self.quantised:
            precision = f"int8 convolutions, {precision} potentials"
        return f"torch {mode}, {precision}, channels-last, {self.device}"

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
        if activity:
            return StepResult(*self._step_with_activity(prepared, state))
        return StepResult(*self._step(prepared, state), None)

    def _plain_step(self, current: Tensor, state: SPYv4State) -> tuple[Maps, SPYv4State]:
        maps, state, _ = self.model.step_from_current(current, state)
        return maps, state

    def _activity_step(
        self, current: Tensor, state: SPYv4State
    ) -> tuple[Maps, SPYv4State, Activity]:
        maps, state, spikes = self.model.step_from_current(current, state)
        return maps, state, summarise(spikes)


def can_compile() -> bool:
    """Whether a C++ compiler for `torch.compile` is installed."""
    return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
