"""An ONNX graph of convolutions on any device of torch's, for teachers that a GPU asks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spyv4.errors import CheckpointError


class OnnxGraph(nn.Module):
    """Runs the graph of an ONNX model, node by node.

    Args:
        model: with one input.
        outputs: names of the tensors that are wanted.

    Raises:
        CheckpointError: if it has an operation, or a kind of one, that none of `OPERATIONS` is.
    """

    def __init__(self, model: Any, outputs: Sequence[str]) -> None:
        super().__init__()
        import onnx  # here: an extra

        self._numbers: dict[str, list[float]] = {}
        self._names: dict[str, str] = {}
        nodes = model.graph.node
        scales = {name for node in nodes if node.op_type == "Resize" for name in node.input[1:]}
        for index, constant in enumerate(model.graph.initializer):
            value = torch.from_numpy(onnx.numpy_helper.to_array(constant).copy())
            if constant.name in scales or not value.is_floating_point():
                # Steps, sizes and scales stay here: a GPU would be waited for.
                self._numbers[constant.name] = value.flatten().tolist()
            else:
                self._names[constant.name] = f"constant_{index}"
                self.register_buffer(self._names[constant.name], value)
        self._input = model.graph.input[0].name
        self._outputs = tuple(outputs)
        self._nodes = []
        for node in nodes:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type not in OPERATIONS or not _as_usual(attributes):
                raise CheckpointError(
                    f"a teacher with the {node.op_type} that makes {node.output[0]} runs on "
                    "processors alone; keep the pictures there, with another --cache"
                )
            operation = OPERATIONS[node.op_type]
            self._nodes.append((operation, tuple(node.input), node.output[0], attributes))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The wanted outputs for its input."""
        values: dict[str, Any] = {name: getattr(self, own) for name, own in self._names.items()}
        values[self._input] = images
        values[""] = None
        for operation, inputs, output, attributes in self._nodes:
            given = [values[name] if name in values else self._numbers[name] for name in inputs]
            values[output] = operation(given, attributes)
        return [values[name] for name in self._outputs]


def _as_usual(attributes: dict[str, Any]) -> bool:
    """Whether all that these operations leave out is as they take it to be."""
    pads = attributes.get("pads", [])
    return (
        pads[: len(pads) // 2] == pads[len(pads) // 2 :]
        and attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
        and not attributes.get("ceil_mode", 0)
        and attributes.get("mode", b"nearest") == b"nearest"
        and attributes.get("coordinate_transformation_mode", b"asymmetric") == b"asymmetric"
        and attributes.get("nearest_mode", b"floor") == b"floor"
    )


def _convolution(given: list[Any], attributes: dict[str, Any]) -> Tensor:
    pads = attributes.get("pads", [0, 0, 0, 0])
    x, weight = given[:2]
    bias = given[2] if len(given) > 2 else None
    stride, dilation = (attributes.get(name, [1, 1]) for name in ("strides", "dilations"))
    return functional.conv2d(
        x, weight, bias, stride, pads[:2], dilation, attributes.get("group", 1)
    )


def _largest(given: list[Any], attributes: dict[str, Any]) -> Tensor:
    kernel, stride, pads = (attributes[name] for name in ("kernel_shape", "strides", "pads"))
    largest: Tensor = functional.max_pool2d(given[0], kernel, stride, pads[:2])
    return largest


def _enlarge(given: list[Any], _: dict[str, Any]) -> Tensor:
    """To the nearest pixel above or to the left."""
    return functional.interpolate(given[0], scale_factor=given[2][2:], mode="nearest")


def _slice(given: list[Any], _: dict[str, Any]) -> Tensor:
    x: Tensor = given[0]
    for start, end, axis, step in zip(*given[1:], strict=True):
        which = [slice(None)] * x.ndim
        which[axis] = slice(start, min(end, x.shape[axis]), step)
        x = x[tuple(which)]
    return x


def _reshape(given: list[Any], _: dict[str, Any]) -> Tensor:
    """A 0 keeps the size that there is."""
    x: Tensor = given[0]
    return x.reshape([size or x.shape[axis] for axis, size in enumerate(given[1])])


OPERATIONS: dict[str, Callable[[list[Any], dict[str, Any]], Tensor]] = {
    "Add": lambda given, _: given[0] + given[1],
    "Concat": lambda given, attributes: torch.cat(given, attributes["axis"]),
    "Conv": _convolution,
    "MaxPool": _largest,
    "Mul": lambda given, _: given[0] * given[1],
    "Reshape": _reshape,
    "Resize": _enlarge,
    "Sigmoid": lambda given, _: given[0].sigmoid(),
    "Slice": _slice,
    "Transpose": lambda given, attributes: given[0].permute(attributes["perm"]),
}
"""Of a node's inputs and attributes."""
