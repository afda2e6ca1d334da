"""Edits of an exported graph: a name to cut it at, and fewer passes over memory."""

from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from spyv4.errors import CheckpointError

IMAGES = "images"
CURRENT = "current"
MICROSOFT = "com.microsoft"
_REST = "potential_after_a_spike"


def name_current(graph: GraphProto, channels_last: bool) -> None:
    """Name the output of the one node that sees the images `current`.

    Args:
        graph: is changed in place.
        channels_last: make it [B, H, W, C] first, and back again for what uses it.
    """
    (first,) = (node for node in graph.node if IMAGES in node.input)
    unnamed = first.output[0]
    (found,) = (value for value in graph.value_info if value.name == unnamed)
    shape = shape_of(found)
    del graph.value_info[:]  # the others can be worked out, and would outlive their nodes
    used = f"{CURRENT}.used" if channels_last else CURRENT
    for node in graph.node:
        rename_reads(node, {unnamed: used})
    if channels_last:
        first.output[0] = f"{CURRENT}.made"
        there = helper.make_node("Transpose", [first.output[0]], [CURRENT], perm=[0, 2, 3, 1])
        back = helper.make_node("Transpose", [CURRENT], [used], perm=[0, 3, 1, 2])
        _insert_after(graph, first, [there, back])
        shape = [shape[axis] for axis in (0, 2, 3, 1)]
    else:
        first.output[0] = CURRENT
    graph.value_info.append(helper.make_tensor_value_info(CURRENT, TensorProto.FLOAT, shape))


def rename_reads(node: NodeProto, names: Mapping[str, str]) -> None:
    """Make a node read other values in the place of some."""
    node.input[:] = [names.get(name, name) for name in node.input]


def shape_of(value: ValueInfoProto) -> list[int | str]:
    """Sides of a value, by number or by name."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _insert_after(graph: GraphProto, place: NodeProto, added: list[NodeProto]) -> None:
    """Put nodes behind another; they come in the order in which they are run."""
    nodes = list(graph.node)
    index = nodes.index(place) + 1
    del graph.node[:]
    graph.node.extend([*nodes[:index], *added, *nodes[index:]])


def save_passes(graph: GraphProto) -> None:
    """Write spike and reset with fewer passes over the potentials; not one bit changes.

    u - theta > 0 becomes u > theta, which is the same with gradual underflow; (1 - s) u becomes
    u where there is no spike and 0 where there is one.
    """
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        distance = makers.get(node.input[0]) if node.op_type == "Greater" else None
        if distance is not None and distance.op_type == "Sub":
            node.input[:] = distance.input
    resets = [
        (node, fired)
        for node in graph.node
        if node.op_type == "Mul" and (fired := _spike_of_reset(node, makers)) is not None
    ]
    for node, fired in resets:
        node.CopyFrom(helper.make_node("Where", [fired, _REST, node.input[1]], node.output))
    if resets:
        graph.initializer.append(numpy_helper.from_array(np.zeros((), np.float32), _REST))
    keep_needed(graph)


def _spike_of_reset(node: NodeProto, makers: dict[str, NodeProto]) -> str | None:
    """The comparison behind s, if `node` is (1 - s) u."""
    kept = makers.get(node.input[0])
    cast = makers.get(kept.input[1]) if kept and kept.op_type == "Sub" else None
    fired = makers.get(cast.input[0]) if cast and cast.op_type == "Cast" else None
    return fired.output[0] if fired and fired.op_type == "Greater" else None


def fuse_products(graph: GraphProto) -> bool:
    """Make a product in 8 bits and the bias after it one operator of ONNX Runtime's own.

    It fuses them by itself, too, but for the bias, and not where it knows the shapes.

    Returns:
        Whether there were any.
    """
    makers = {name: node for node in graph.node for name in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    fused = False
    for node in list(graph.node):
        sides = [makers.get(name) for name in node.input] if node.op_type == "MatMul" else []
        left, right = sides if len(sides) == 2 else (None, None)
        if not (left and right and left.op_type == right.op_type == "DequantizeLinear"):
            continue
        add = readers[node.output[0]]
        (a, a_scale, a_zero), (b, b_scale, b_zero) = left.input, right.input
        inputs = [a, b, a_scale, b_scale, a_zero, b_zero, add.input[1]]
        product = helper.make_node(
            "MatMulIntegerToFloat", inputs, add.output, domain=MICROSOFT, name=node.name
        )
        node.CopyFrom(product)
        graph.node.remove(add)
        fused = True
    keep_needed(graph)
    return fused


def cut_at_current(graph: GraphProto) -> tuple[GraphProto, GraphProto]:
    """Cut the graph in two: images -> current; (current, state) -> everything else.

    Raises:
        CheckpointError: if there is no such place to cut.
    """
    value = next((value for value in graph.value_info if value.name == CURRENT), None)
    images = [entry for entry in graph.input if entry.name == IMAGES]
    if value is None or not images:
        raise CheckpointError(f"its graph does not lead from {IMAGES!r} to {CURRENT!r}")
    others = [entry for entry in graph.input if entry.name != IMAGES]
    return (
        _part(graph, images, [value], frozenset()),
        _part(graph, [value, *others], list(graph.output), frozenset({CURRENT})),
    )


def _part(
    graph: GraphProto,
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    given: frozenset[str],
) -> GraphProto:
    """What leads to `outputs`; what is `given` needs no node to make it."""
    nodes = _needed(graph, {output.name for output in outputs}, given)
    read = {name for node in nodes for name in node.input}
    weights = [entry for entry in graph.initializer if entry.name in read]
    return helper.make_graph(nodes, graph.name, inputs, outputs, weights)


def _needed(graph: GraphProto, wanted: set[str], given: frozenset[str]) -> list[NodeProto]:
    """The nodes behind `wanted` values, in their order."""
    kept = []
    for node in reversed(graph.node):
        if (wanted - given).intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def keep_needed(graph: GraphProto) -> None:
    """Drop the nodes whose outputs nobody reads, and the weights that no node reads."""
    needed = _needed(graph, {output.name for output in graph.output}, frozenset())
    del graph.node[:]
    graph.node.extend(needed)
    read = {name for node in needed for name in node.input}
    weights = [entry for entry in graph.initializer if entry.name in read]
    del graph.initializer[:]
    graph.initializer.extend(weights)
