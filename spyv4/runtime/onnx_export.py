"""The one-read step as ONNX: (images, state) -> (head maps, spikes, state), for any size and batch.

The file is one graph that any ONNX runtime can run. Its value `current`, the input current of the
first layer, depends on the images alone: `spyv4.runtime.onnx_file` cuts the graph there, so that
it is computed once a picture instead of at every read.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import onnx
import torch
from torch import Tensor, nn
from torch.utils._pytree import (
    TreeSpec,
    tree_flatten,
    tree_flatten_with_path,
    tree_unflatten,
)

from spyv4.config import check_image_size
from spyv4.errors import ArgumentError
from spyv4.files import write_atomically
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.runtime.int8 import rate_steps
from spyv4.runtime.onnx_graph import name_current, save_passes
from spyv4.runtime.onnx_int8 import quantise_graph
from spyv4.validation import to_mapping

ONNX_FORMAT = "spyv4-onnx-4"
OnnxPrecision = Literal["float32", "int8"]
OPSET = 18
GRID = 32
"""Sides of a picture are multiples of this many pixels."""
# What is traced: neither 1 (which would be taken for constant) nor equal, any size follows from it.
_TRACED_BATCH, _TRACED_SIZE = 2, (2 * GRID, 3 * GRID)
_LARGEST_SIDE = 512


class FlatStep(nn.Module):
    """The step with the state as a list of tensors, which is all that ONNX knows.

    Args:
        model: the network, folded.
        spec: how the list becomes a state again.
    """

    def __init__(self, model: SPYv4, spec: TreeSpec) -> None:
        super().__init__()
        self.model = model
        self.spec = spec

    def forward(self, images: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Head maps, the spikes of every layer, and the tensors of the new state."""
        before: SPYv4State = tree_unflatten(list(state), self.spec)
        maps, after, spikes = self.model.step_from_current(self.model.current(images), before)
        return (*maps, *spikes.values(), *tree_flatten(after)[0])


def to_channels_last(tensor: Tensor) -> Tensor:
    """A view [B, H, W, C] of [B, C, H, W]."""
    return tensor.permute(0, 2, 3, 1)


def to_channels_first(tensor: Tensor) -> Tensor:
    """A view [B, C, H, W] of [B, H, W, C]."""
    return tensor.permute(0, 3, 1, 2)


def state_names(state: SPYv4State) -> list[str]:
    """A name for every tensor of a state, for example `layers.csp1_a.u`."""
    leaves, _ = tree_flatten_with_path(state)
    return [".".join(str(key).strip(".[]'") for key in path) for path, _ in leaves]


def export_onnx(
    model: SPYv4,
    path: Path,
    image_size: tuple[int, int],
    *,
    precision: OnnxPrecision = "float32",
) -> None:
    """Write the one-read step of `model`, batch norms folded in, for any batch and size.

    Args:
        model: is folded in place.
        path: the .onnx file, replaced if it exists.
        image_size: (height, width) in pixels, multiples of 32, that pictures are stretched to
            unless told otherwise.
        precision: of the spiking convolutions; `int8` as in `spyv4.runtime.int8`.

    Raises:
        ArgumentError: if the network does not spike and `precision` is `int8`.
        ConfigError: if a side of `image_size` is not a positive multiple of 32.
    """
    check_image_size(image_size)
    model.fold().float().requires_grad_(False)
    if precision == "int8" and not model.config.neuron.spikes:
        raise ArgumentError("8-bit convolutions need spikes, which the twin has none of")
    in_bytes = precision == "int8"
    proto = _traced(model)
    name_current(proto.graph, channels_last=in_bytes)
    save_passes(proto.graph)
    if in_bytes:
        quantise_graph(proto.graph, rate_steps(model))
    metadata = {
        "format": ONNX_FORMAT,
        "config": json.dumps(to_mapping(model.config)),
        "image_size": json.dumps(image_size),
        "precision": precision,
        "layout": "NHWC" if in_bytes else "NCHW",
    }
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto)
    write_atomically(path, lambda temporary: onnx.save(proto, temporary))


def _traced(model: SPYv4) -> onnx.ModelProto:
    """The graph of one read."""
    state = model.initial_state(_TRACED_BATCH, _TRACED_SIZE)
    flat, spec = tree_flatten(state)
    names = state_names(state)
    outputs = [f"head_{head.layer}" for head in model.config.heads]
    outputs += [f"spikes.{name}" for name in model.spiking]
    outputs += [f"next.{name}" for name in names]
    images = torch.zeros(_TRACED_BATCH, 3, *_TRACED_SIZE)
    with quiet_exporter():
        program = cast(
            "torch.onnx.ONNXProgram",
            torch.onnx.export(
                FlatStep(model, spec).eval(),
                (images, *flat),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["images", *names],
                output_names=outputs,
                dynamic_shapes=_dynamic_shapes(images, flat),
            ),
        )
    return program.model_proto


def _dynamic_shapes(images: Tensor, state: list[Tensor]) -> tuple[Any, ...]:
    """Which sides may change, as multiples of the picture's sides in units of 32 pixels."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    sides = [torch.export.Dim(name, min=1, max=_LARGEST_SIDE) for name in ("rows", "columns")]

    def dynamic(tensor: Tensor) -> dict[int, Any]:
        named: dict[int, Any] = {0: batch}
        if tensor.shape[2:] != (1, 1):  # as the weight of the read-out has
            for axis, side, traced in zip((2, 3), sides, _TRACED_SIZE, strict=True):
                times = tensor.shape[axis] * GRID // traced
                named[axis] = side if times == 1 else times * side
        return named

    return dynamic(images), tuple(dynamic(tensor) for tensor in state)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Its own use of what torch deprecates is nothing that a user can mend."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
