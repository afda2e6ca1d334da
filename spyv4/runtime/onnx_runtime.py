"""ONNX Runtime: the CUDA provider where there is one, else the CPU."""

import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as onnx_errors
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from spyv4.activity import Activity
from spyv4.config import ModelConfig
from spyv4.errors import CheckpointError, ConfigError, RuntimeUnavailableError, StateShapeError
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.runtime.base import StepResult
from spyv4.runtime.onnx_export import ONNX_FORMAT, export_onnx
from spyv4.runtime.torch_runtime import pick_device
from spyv4.validation import from_mapping

# ONNX Runtime's exceptions have no common ancestor of their own.
_SESSION_ERRORS = (
    onnx_errors.Fail,
    onnx_errors.InvalidArgument,
    onnx_errors.InvalidGraph,
    onnx_errors.InvalidProtobuf,
    onnx_errors.NoSuchFile,
    onnx_errors.NotImplemented,
    onnx_errors.RuntimeException,
    RuntimeError,
)


Provider = str | tuple[str, dict[str, int]]


def pick_providers(device: str) -> list[Provider]:
    """Providers for a device as `pick_device` knows them, best first.

    Raises:
        ArgumentError: if it is no device.
        RuntimeUnavailableError: if a GPU is asked for that ONNX Runtime cannot use here.
    """
    chosen = pick_device(device)
    if chosen.type != "cuda":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return [
            ("CUDAExecutionProvider", {"device_id": chosen.index or 0}),
            "CPUExecutionProvider",
        ]
    if device != "auto":
        raise RuntimeUnavailableError("ONNX Runtime finds no CUDA GPU here; use --device cpu")
    return ["CPUExecutionProvider"]


class OnnxRuntime:
    """Runs an exported one-read step.

    Args:
        path: a file that `spyv4-export` wrote.
        providers: ONNX Runtime providers, best first.

    Raises:
        CheckpointError: if the file is not such a file.
    """

    def __init__(self, path: Path, providers: list[Provider]) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that spin between reads would take the processor from everything else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except _SESSION_ERRORS as error:
            raise CheckpointError(f"{path} is not a readable ONNX model: {error}") from error
        try:
            metadata = self.session.get_modelmeta().custom_metadata_map
            if metadata.get("format") != ONNX_FORMAT:
                raise CheckpointError(f"{path} was not written by spyv4-export")
            self._config = from_mapping(ModelConfig, json.loads(metadata["config"]))
            height, width = json.loads(metadata["image_size"])
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise CheckpointError(f"{path} is not a readable ONNX model: {error}") from error
        self.image_size = (int(height), int(width))
        self._names = [node.name for node in self.session.get_inputs()]
        with torch.device("meta"):
            self._skeleton = SPYv4(self._config)

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return self._config

    @property
    def description(self) -> str:
        """For example `ONNX Runtime, CPUExecutionProvider`."""
        return f"ONNX Runtime, {self.session.get_providers()[0]}"

    def initial_state(
        self, batch: int, image_size: tuple[int, int], *, seed: int | None = None
    ) -> SPYv4State:
        """The state before the first read: rest, or random potentials drawn with `seed`.

        Raises:
            StateShapeError: if the file was exported for another size.
        """
        if image_size != self.image_size:
            raise StateShapeError(
                f"this ONNX file is for pictures of {self.image_size}, not {image_size} (height, "
                "width); export one of that size with spyv4-export --image-size"
            )
        shapes = self._skeleton.initial_state(batch, image_size)
        state: SPYv4State = tree_map(lambda tensor: torch.zeros(tensor.shape), shapes)
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            for layer in state.layers.values():
                layer.u.uniform_(generator=generator)
        return state

    def prepare(self, images: Tensor) -> Tensor:
        """The images themselves."""
        return images.contiguous()

    def step(self, prepared: Tensor, state: SPYv4State, *, activity: bool = False) -> StepResult:
        """One read of prepared images."""
        flat, spec = tree_flatten(state)
        feed = {
            name: np.ascontiguousarray(tensor.numpy())
            for name, tensor in zip(self._names, (prepared, *flat), strict=True)
        }
        tensors = [torch.from_numpy(array) for array in self.session.run(None, feed)]
        levels = len(self._config.heads)
        after = levels + len(Activity._fields)
        return StepResult(
            tuple(tensors[:levels]),
            tree_unflatten(tensors[after:], spec),
            Activity(*tensors[levels:after]) if activity else None,
        )


def export_and_load(model: SPYv4, image_size: tuple[int, int], device: str) -> OnnxRuntime:
    """Export `model` to a temporary file and load that."""
    providers = pick_providers(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(model, path, image_size)
        return OnnxRuntime(path, providers)
