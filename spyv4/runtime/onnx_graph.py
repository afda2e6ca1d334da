"""Edits of an exported graph: a name to cut it at, and fewer passes over memory."""

import numpy as np
from onnx import GraphProto, NodeProto, ValueInfoProto, helper, numpy_helper

from spyv4.errors import CheckpointError

IMAGES = "images"
CURRENT = "current"
_REST = "potential_after_a_spike"


def name_current(graph: GraphProto) -> None:
    """Name the output of the one node that sees the images `current`."""
    (first,) = (node for node in graph.node if IMAGES in node.input)
    unnamed = first.output[0]
    first.output[0] = CURRENT
    (value,) = (value for value in graph.value_info if value.name == unnamed)
    value.name = CURRENT
    del graph.value_info[:]  # the others can be worked out, and would outlive their nodes
    graph.value_info.append(value)
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == unnamed:
                node.input[index] = CURRENT


def save_passes(graph: GraphProto) -> None:
    """Write spike and reset with two passes over the potentials fewer; not one bit changes.

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
    needed = _needed(graph, {output.name for output in graph.output}, frozenset())
    del graph.node[:]
    graph.node.extend(needed)


def _spike_of_reset(node: NodeProto, makers: dict[str, NodeProto]) -> str | None:
    """The comparison behind s, if `node` is (1 - s) u."""
    kept = makers.get(node.input[0])
    spikes = makers.get(kept.input[1]) if kept is not None and kept.op_type == "Sub" else None
    if spikes is None or spikes.op_type != "Cast":
        return None
    fired = makers.get(spikes.input[0])
    return fired.output[0] if fired is not None and fired.op_type == "Greater" else None


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
