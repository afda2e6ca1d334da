"""The 8-bit convolutions of `spyv4.runtime.int8` in an exported graph: exact 32-bit sums.

ONNX Runtime has no convolution in 8 bits on the CPU that is fast and whose output stays exact:
QLinearConv rounds its output to 8 bits, ConvInteger is slower than float32. Its product of
matrices is both (DequantizeLinear, DequantizeLinear and MatMul become MatMulIntegerToFloat). So a
convolution becomes a gathering of windows, bytes with channels last, and such a product.
"""

from typing import Any

import numpy as np
import torch
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from spyv4.network.table import LAYER_NAMES, ROWS, STRIDES
from spyv4.runtime.int8 import LEVELS, round_weight
from spyv4.runtime.onnx_graph import CURRENT, keep_needed, rename_reads, shape_of

TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
_STEPS = {row.name: row.stride for row in ROWS}
# What makes bytes of bytes; everything else that reads spikes wants numbers.
_CARRIERS = ("Concat", "Split", "Slice", "MaxPool")


def quantise_graph(graph: GraphProto, rate_steps: dict[str, float]) -> None:
    """Rewrite the spiking convolutions of an exported graph in 8 bits, in place.

    Potentials and spikes, the latter as bytes, become [B, H, W, C] on the way in and out.

    Args:
        graph: whose `current` is [B, H, W, C] already.
        rate_steps: as `spyv4.runtime.int8.rate_steps` has them.
    """
    _write_spikes_as_bytes(graph)
    before, after = _channels_last_outside(graph)
    writer = _Writer(graph, rate_steps)
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes.extend(writer.convolution(node) if _spiking(node) else [node])
    made = 1 + next(index for index, node in enumerate(nodes) if CURRENT in node.output)
    del graph.node[:]
    graph.node.extend([*before, *nodes[:made], *writer.tables, *nodes[made:], *after])
    graph.initializer.extend(writer.constants)
    keep_needed(graph)


def _spiking(node: NodeProto) -> bool:
    """Whether a node is a convolution to quantise: no head, and not that of the images."""
    if node.op_type != "Conv" or ".layers." not in node.input[1]:
        return False
    return f".{LAYER_NAMES[0]}.synapse." not in node.input[1]


def _sees_spikes(node: NodeProto) -> bool:
    """Whether it is one of a layer's inputs rather than of its rates."""
    return _spiking(node) and ".synapse." in node.input[1]


def _write_spikes_as_bytes(graph: GraphProto) -> None:
    """Spikes leave the comparison as bytes; numbers are made only for those who calculate."""
    names = {f"spikes.{name}" for name in LAYER_NAMES}
    numbers = {name: f"{name}.float" for name in names}
    nodes = []
    for node in graph.node:
        if not (node.op_type in _CARRIERS or _sees_spikes(node)):
            rename_reads(node, numbers)
        nodes.append(node)
        if node.output[0] in names:
            wanted = numbers[node.output[0]]
            nodes.append(helper.make_node("Cast", [node.input[0]], [wanted], to=TensorProto.FLOAT))
            cast = helper.make_node("Cast", node.input, node.output, to=TensorProto.UINT8)
            node.CopyFrom(cast)
    del graph.node[:]
    graph.node.extend(nodes)
    for output in graph.output:
        if output.name in names:
            output.type.tensor_type.elem_type = TensorProto.UINT8


def _channels_last_outside(graph: GraphProto) -> tuple[list[NodeProto], list[NodeProto]]:
    """Turn potentials and spikes at the border of the graph; the nodes for its start and end.

    ONNX Runtime moves these through what calculates place by place until they meet and vanish.
    """
    before, after, inside = [], [], {}
    for value in [*graph.input, *graph.output]:
        if not value.name.startswith(("layers.", "next.layers.", "spikes.")):
            continue
        inside[value.name] = inner = f"{value.name}.inside"
        kind, dims = value.type.tensor_type.elem_type, shape_of(value)
        turned = [dims[axis] for axis in TO_LAST]
        if value.name.startswith("layers."):
            before.append(helper.make_node("Transpose", [value.name], [inner], perm=TO_FIRST))
        else:
            after.append(helper.make_node("Transpose", [inner], [value.name], perm=TO_LAST))
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, turned))
    for node in graph.node:
        node.input[:] = [inside.get(name, name) for name in node.input]
        node.output[:] = [inside.get(name, name) for name in node.output]
    return before, after


class _Writer:
    """Writes convolutions as products of 8-bit matrices.

    Args:
        graph: where weights are found.
        rate_steps: value of one step of what a layer's update rate sees, by layer.

    Attributes:
        tables: nodes that work out which places each window sees; they depend on the size alone.
        constants: what `tables` and the products need.
    """

    def __init__(self, graph: GraphProto, rate_steps: dict[str, float]) -> None:
        self.tables: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._weights = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
        self._made: set[str] = set()
        self._rate_steps = rate_steps

    def convolution(self, node: NodeProto) -> list[NodeProto]:
        """What does the same as a convolution, for an input of bytes or of numbers."""
        name, reads_spikes = node.input[1].removesuffix(".weight"), _sees_spikes(node)
        row, kind, step, zero = _row(name), "spike", 1.0, 0
        if not reads_spikes:
            kind, step, zero = f"{row}.rate", self._rate_steps[row], LEVELS // 2
        scale = self._constant(f"{kind}.scale", np.array(step, np.float32))
        point = self._constant(f"{kind}.zero", np.array(zero, np.uint8))
        chain = _Chain(name, node.input[0])
        chain.add("Transpose", perm=TO_LAST)
        if not reads_spikes:
            chain.add("QuantizeLinear", scale, point)
        weight = self._weights[node.input[1]]
        if weight.shape[2] > 1:
            self._windows(chain, weight.shape, point, reads_spikes)
        chain.add("DequantizeLinear", scale, point)
        right, matrix = self._matrix(name, weight)
        chain.add("MatMul", matrix)
        if len(node.input) > 2:
            chain.add("Add", node.input[2])
        chain.add("Transpose", perm=TO_FIRST)
        chain.nodes[-1].output[0] = node.output[0]
        return [right, *chain.nodes]

    def _windows(
        self, chain: "_Chain", shape: tuple[int, ...], point: str, reads_spikes: bool
    ) -> None:
        """Bytes [B, H, W, C] to what each output sees, [B, H', W', k k C]."""
        channels, kernel = shape[1], shape[2]
        edge, row = kernel // 2, _row(chain.name)
        step = _STEPS[row] if reads_spikes else 1
        pads = np.array([0, edge, edge, 0, 0, edge, edge, 0])
        chain.add("Pad", self._constant(f"pads.{edge}", pads), point)
        chain.add("Reshape", self._constant(f"places.{channels}", np.array([0, -1, channels])))
        chain.add("Gather", self._table(STRIDES[row] // step, step, kernel), axis=1)
        chain.add("Reshape", self._constant("windows", np.array([0, 0, 0, -1])))

    def _matrix(self, name: str, weight: np.ndarray) -> tuple[NodeProto, str]:
        """The weights as [k k C, C_out] in 8 bits, with a node that says what they are worth."""
        rounded, scale = round_weight(torch.from_numpy(weight.copy()))
        columns = rounded.permute(2, 3, 1, 0).reshape(-1, len(scale)).contiguous()
        parts = {"int8": columns, "scale": scale, "zero": torch.zeros_like(columns[0])}
        inputs = [self._constant(f"{name}.{key}", part.numpy()) for key, part in parts.items()]
        worth = f"{name}.worth"
        return helper.make_node("DequantizeLinear", inputs, [worth], axis=1), worth

    def _table(self, stride: int, step: int, kernel: int) -> str:
        """Places in the padded, flattened input that each window sees, [H', W', k k]."""
        name = f"windows.{stride}.{step}.{kernel}"
        if name in self._made:
            return f"{name}.seen"
        self._made.add(name)
        table = _Chain(name, CURRENT)
        steps = np.arange(kernel, dtype=np.int64)
        number = self._constant
        finer = number(f"stride.{stride}", np.array(stride // STRIDES[LAYER_NAMES[0]]))
        step_name, edges = number(f"step.{step}", np.array(step)), np.array(kernel // 2 * 2)
        nought = number("nought", np.array(0))
        for axis, (side, shape) in enumerate({"rows": [-1, 1, 1], "columns": [1, -1, 1]}.items()):
            table.start(CURRENT)
            table.add("Shape", start=1 + axis, end=2 + axis)
            table.add("Squeeze")
            table.add("Div", finer, to=f"{name}.{side}")
            table.nodes.append(
                helper.make_node("Range", [nought, table.last, step_name], [f"{name}.{side}.from"])
            )
            table.start(f"{name}.{side}.from")
            table.add("Reshape", number(f"shape.{side}", np.array(shape)), to=f"{name}.{side}.at")
        table.start(f"{name}.columns")
        table.add("Add", number(f"edges.{kernel}", edges), to=f"{name}.across")
        table.add("Mul", number(f"down.{kernel}", steps.repeat(kernel)))
        table.add("Add", number(f"right.{kernel}", np.tile(steps, kernel)), to=f"{name}.window")
        table.start(f"{name}.rows.at")
        table.add("Mul", f"{name}.across")
        table.add("Add", f"{name}.columns.at")
        table.add("Add", f"{name}.window", to=f"{name}.seen")
        self.tables.extend(table.nodes)
        return f"{name}.seen"

    def _constant(self, name: str, values: np.ndarray) -> str:
        """The name of a constant, which is written once."""
        if name not in self._made:
            self._made.add(name)
            self.constants.append(numpy_helper.from_array(values, name))
        return name


def _row(name: str) -> str:
    """The layer of a convolution."""
    return name.split(".layers.")[1].split(".")[0]


class _Chain:
    """Nodes of which each takes the output of the one before.

    Args:
        name: of the whole.
        value: what the first one takes.
    """

    def __init__(self, name: str, value: str) -> None:
        self.name, self.last = name, value
        self.nodes: list[NodeProto] = []

    def start(self, value: str) -> None:
        """Go on from another value."""
        self.last = value

    def add(
        self,
        operator: str,
        *others: str,
        to: str | None = None,
        perm: list[int] | None = None,
        axis: int | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> None:
        """One more node, with its other inputs and its attributes; `to` names its output."""
        output = to or f"{self.name}.{len(self.nodes)}"
        attributes = {"perm": perm, "axis": axis, "start": start, "end": end}
        given: dict[str, Any] = {
            key: value for key, value in attributes.items() if value is not None
        }
        self.nodes.append(
            helper.make_node(operator, [self.last, *others], [output], name=output, **given)
        )
        self.last = output
