"""Opening what `spyv4-export` wrote."""

import json
from pathlib import Path
from typing import NamedTuple, cast

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from spyv4.config import ModelConfig
from spyv4.errors import CheckpointError, ConfigError
from spyv4.runtime.onnx_export import ONNX_FORMAT, OnnxPrecision
from spyv4.runtime.onnx_graph import MICROSOFT, cut_at_current, fuse_products
from spyv4.validation import from_mapping

_FAMILY = ONNX_FORMAT.rpartition("-")[0]


class OnnxFile(NamedTuple):
    """An exported network.

    Attributes:
        config: of the network.
        image_size: (height, width) that pictures are stretched to unless told otherwise.
        precision: of the spiking convolutions.
        channels_last: whether current, spikes and the state of neurons are [B, H, W, C].
        first: images -> current, a serialised ONNX model.
        rest: (current, state) -> (head maps, spikes, state), a serialised ONNX model.
    """

    config: ModelConfig
    image_size: tuple[int, int]
    precision: OnnxPrecision
    channels_last: bool
    first: bytes
    rest: bytes


def open_onnx(path: Path, *, on_cpu: bool) -> OnnxFile:
    """Read an exported file, and cut its graph where the images are done with.

    Args:
        path: the file.
        on_cpu: whether it runs there: ONNX Runtime has its product in 8 bits for no GPU.

    Raises:
        CheckpointError: if it is no such file, or one of another version of the format.
    """
    try:
        proto = onnx.load(str(path))
        metadata = {entry.key: entry.value for entry in proto.metadata_props}
        _check_format(path, metadata.get("format", ""))
        config = from_mapping(ModelConfig, json.loads(metadata["config"]))
        height, width = json.loads(metadata["image_size"])
        precision, layout = metadata["precision"], metadata["layout"]
        first, rest = cut_at_current(proto.graph)
    except (OSError, DecodeError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path} is not a readable ONNX model: {error}") from error
    return OnnxFile(
        config,
        (int(height), int(width)),
        cast("OnnxPrecision", precision),
        layout == "NHWC",
        first=_serialised(first, proto, on_cpu),
        rest=_serialised(rest, proto, on_cpu),
    )


def _check_format(path: Path, found: str) -> None:
    if found == ONNX_FORMAT:
        return
    if found.startswith(f"{_FAMILY}-"):
        raise CheckpointError(
            f"{path} is of format {found}, not {ONNX_FORMAT}; export the weights anew with "
            "spyv4-export"
        )
    raise CheckpointError(f"{path} was not written by spyv4-export")


def _serialised(graph: onnx.GraphProto, whole: onnx.ModelProto, fuse: bool) -> bytes:
    """A model of part of the graph."""
    part = onnx.helper.make_model(
        graph, opset_imports=whole.opset_import, ir_version=whole.ir_version
    )
    if fuse and fuse_products(part.graph):
        part.opset_import.append(onnx.helper.make_opsetid(MICROSOFT, 1))
    data: bytes = part.SerializeToString()
    return data
