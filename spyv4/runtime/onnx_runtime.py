"""ONNX Runtime: the CUDA provider where there is one, else the CPU."""

import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_map, tree_unflatten
from torch.utils.dlpack import from_dlpack

from spyv4.activity import summarise
from spyv4.config import ModelConfig
from spyv4.errors import CheckpointError, RuntimeUnavailableError, StateShapeError
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.network.table import IMAGE, LAYER_NAMES, STRIDES
from spyv4.runtime.base import StepResult
from spyv4.runtime.onnx_export import (
    OnnxPrecision,
    export_onnx,
    to_channels_first,
    to_channels_last,
)
from spyv4.runtime.onnx_file import open_onnx
from spyv4.runtime.onnx_graph import CURRENT, IMAGES
from spyv4.runtime.torch_runtime import pick_device

# ONNX Runtime's exceptions have no common ancestor of their own.
_SESSION_ERRORS = (
    onnx_errors.Fail,
    onnx_errors.InvalidArgument,
    onnx_errors.InvalidGraph,
    onnx_errors.InvalidProtobuf,
    onnx_errors.NotImplemented,
    onnx_errors.RuntimeException,
    RuntimeError,
)
_FIRST_STRIDE = STRIDES[LAYER_NAMES[0]] // STRIDES[IMAGE]

_CPU = "CPUExecutionProvider"
Provider = str | tuple[str, dict[str, int]]


def pick_providers(device: str) -> list[Provider]:
    """Providers for a device as `pick_device` knows them, best first.

    Raises:
        ArgumentError: if it is no device.
        RuntimeUnavailableError: if a GPU is asked for that ONNX Runtime cannot use here.
    """
    chosen = pick_device(device)
    if chosen.type != "cuda":
        return [_CPU]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return [
            ("CUDAExecutionProvider", {"device_id": chosen.index or 0}),
            _CPU,
        ]
    if device != "auto":
        raise RuntimeUnavailableError("ONNX Runtime finds no CUDA GPU here; use --device cpu")
    return [_CPU]


class _Layout(NamedTuple):
    """What the state of a batch of one size looks like.

    Attributes:
        shapes: of its tensors.
        spec: how they become a state.
    """

    shapes: tuple[torch.Size, ...]
    spec: TreeSpec


class OnnxRuntime:
    """Runs an exported one-read step, in torch's memory: nothing is copied between reads.

    Args:
        path: a file that `spyv4-export` wrote.
        providers: ONNX Runtime providers, best first.

    Raises:
        CheckpointError: if the file is not such a file.
    """

    def __init__(self, path: Path, providers: list[Provider]) -> None:
        file = open_onnx(path, on_cpu=providers[0] == _CPU)
        self._config, self.image_size = file.config, file.image_size
        self.precision, self._channels_last = file.precision, file.channels_last
        try:
            self._first = _session(file.first, providers)
            self._rest = _session(file.rest, providers)
        except _SESSION_ERRORS as error:
            raise CheckpointError(f"{path} is not a readable ONNX model: {error}") from error
        self.device = _device(self._rest)
        self._inputs = [node.name for node in self._rest.get_inputs()]
        outputs = [node.name for node in self._rest.get_outputs()]
        self._maps = outputs[: len(self._config.heads)]
        self._spikes = [f"spikes.{name}" for name in LAYER_NAMES]
        self._plain = [name for name in outputs if name not in self._spikes]
        with torch.device("meta"):
            self._skeleton = SPYv4(self._config)
        self._layout = lru_cache(maxsize=16)(self._new_layout)

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return self._config

    @property
    def description(self) -> str:
        """For example `ONNX Runtime, float32, CPUExecutionProvider`."""
        precision = "int8 convolutions" if self.precision == "int8" else self.precision
        return f"ONNX Runtime, {precision}, {self._rest.get_providers()[0]}"

    def initial_state(
        self, batch: int, image_size: tuple[int, int], *, seed: int | None = None
    ) -> SPYv4State:
        """The state before the first read: rest, or random potentials drawn with `seed`.

        Raises:
            ConfigError: if a side is not a positive multiple of 32.
        """
        shapes = self._skeleton.initial_state(batch, image_size)
        state: SPYv4State = tree_map(lambda tensor: torch.zeros(tensor.shape), shapes)
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            for layer in state.layers.values():
                layer.u.uniform_(generator=generator)
        if self._channels_last:
            layers = tree_map(
                lambda u: u.contiguous(memory_format=torch.channels_last), state.layers
            )
            state = state._replace(layers=layers)
        moved: SPYv4State = tree_map(lambda tensor: tensor.to(self.device), state)
        return moved

    def prepare(self, images: Tensor) -> Tensor:
        """Input current of the first layer, which is the same at every read."""
        (current,) = _run(self._first, {IMAGES: images.to(self.device)}, [CURRENT])
        return current

    def step(self, prepared: Tensor, state: SPYv4State, *, activity: bool = False) -> StepResult:
        """One read of prepared images.

        Raises:
            StateShapeError: if `state` is of another network, batch or size.
        """
        flat, spec = tree_flatten(state)
        batch, *sides = prepared.shape
        height, width = sides[:2] if self._channels_last else sides[1:]
        if (tuple(tensor.shape for tensor in flat), spec) != self._layout(batch, height, width):
            raise StateShapeError(
                f"the state does not fit {batch} pictures of this network and size; start from "
                "initial_state() of the same batch and size"
            )
        names = [*self._plain, *self._spikes] if activity else self._plain
        given = [prepared, *self._as_in_the_file(state)]
        tensors = _run(self._rest, dict(zip(self._inputs, given, strict=True)), names)
        maps, after = len(self._maps), len(self._plain)
        state = self._as_in_torch(tree_unflatten(tensors[maps:after], spec))
        spikes = tensors[after:]
        if self._channels_last:
            # torch does not pool bytes with channels last
            spikes = [to_channels_first(tensor).float() for tensor in spikes]
        return StepResult(
            tuple(tensors[:maps]),
            state,
            summarise(dict(zip(LAYER_NAMES, spikes, strict=True))) if activity else None,
        )

    def _as_in_the_file(self, state: SPYv4State) -> list[Tensor]:
        """Tensors of a state; nothing is copied if the state is out of this runtime."""
        if self._channels_last:
            state = state._replace(layers=tree_map(to_channels_last, state.layers))
        return tree_leaves(state)

    def _as_in_torch(self, state: SPYv4State) -> SPYv4State:
        """A state of the file as [B, C, H, W], in the memory it is in."""
        if self._channels_last:
            return state._replace(layers=tree_map(to_channels_first, state.layers))
        return state

    def _new_layout(self, batch: int, height: int, width: int) -> _Layout:
        """Of what fits a current of that size."""
        size = (height * _FIRST_STRIDE, width * _FIRST_STRIDE)
        flat, spec = tree_flatten(self._skeleton.initial_state(batch, size))
        return _Layout(tuple(tensor.shape for tensor in flat), spec)


def _session(model: bytes, providers: list[Provider]) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that spin between reads would take the processor from everything else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=providers)


def _device(session: onnxruntime.InferenceSession) -> torch.device:
    """Where a session wants its tensors."""
    provider = session.get_providers()[0]
    if provider != "CUDAExecutionProvider":
        return torch.device("cpu")
    index = session.get_provider_options()[provider]["device_id"]
    return torch.device("cuda", int(index))


def _run(
    session: onnxruntime.InferenceSession, feed: Mapping[str, Tensor], names: Sequence[str]
) -> list[Tensor]:
    """The outputs of these names; what they do not need is not computed.

    Inputs are read where torch has them. Outputs are in memory that ONNX Runtime hands out anew
    for every run and takes back when the last tensor on it is gone.
    """
    binding = session.io_binding()
    where = next(iter(feed.values())).device
    for name, tensor in feed.items():
        value = onnxruntime.OrtValue.from_dlpack(tensor.detach().contiguous())
        binding.bind_ortvalue_input(name, value)
    for name in names:
        binding.bind_output(name, where.type, where.index or 0)
    options = onnxruntime.RunOptions()
    options.only_execute_path_to_fetches = True
    if where.type == "cuda":  # ONNX Runtime has a stream of its own
        torch.cuda.current_stream(where).synchronize()
    session.run_with_iobinding(binding, options)
    return [from_dlpack(value) for value in binding.get_outputs()]


def export_and_load(
    model: SPYv4,
    image_size: tuple[int, int],
    device: str,
    *,
    precision: OnnxPrecision = "float32",
) -> OnnxRuntime:
    """Export `model` to a temporary file and load that."""
    providers = pick_providers(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(model, path, image_size, precision=precision)
        return OnnxRuntime(path, providers)
