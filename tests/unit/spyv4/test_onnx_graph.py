"""Edits of exported graphs."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from spyv4.config import NeuronConfig
from spyv4.neurons.adaptive_ltc import AdaptiveLTCState, adaptive_ltc_step
from spyv4.neurons.ltc import LTCState, ltc_step
from spyv4.runtime.onnx_export import quiet_exporter
from spyv4.runtime.onnx_graph import save_passes


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs: list[np.ndarray] = session.run(None, feed)
    return outputs


class Step(torch.nn.Module):
    def __init__(self, adaptive: bool) -> None:
        super().__init__()
        self.adaptive, self.config = adaptive, NeuronConfig()

    def forward(self, c, k, u, b, s):  # type: ignore[no-untyped-def]
        if self.adaptive:
            return adaptive_ltc_step(c, k, k, AdaptiveLTCState(u, b, s), self.config)[1]
        return ltc_step(c, k, LTCState(u), self.config)


@pytest.mark.parametrize("adaptive", [False, True])
def test_fewer_passes_change_no_bit(adaptive: bool) -> None:
    torch.manual_seed(0)
    c, u = torch.randn(2, 1, 200, 200) * 2
    k, b = torch.rand(2, 1, 200, 200)
    s = (torch.rand(1, 200, 200) > 0.5).float()
    names = list("ckubs")
    with torch.no_grad(), quiet_exporter():
        program = torch.onnx.export(
            Step(adaptive).eval(), (c, k, u, b, s), dynamo=True, verbose=False, input_names=names
        )
    assert program is not None
    before = program.model_proto
    after = onnx.ModelProto()
    after.CopyFrom(before)
    save_passes(after.graph)
    onnx.checker.check_model(after)
    assert len(after.graph.node) <= len(before.graph.node) - 2
    assert [node.op_type for node in after.graph.node].count("Where") == 1
    given = {i.name for i in before.graph.input}
    feed = {n: t.numpy() for n, t in zip(names, (c, k, u, b, s), strict=True) if n in given}
    one, other = run(before, feed), run(after, feed)
    assert 0.05 < (one[0] == 0).mean() < 0.95
    for a, b_ in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b_)


def test_other_products_stay_as_they_are() -> None:
    """1 - x that is no spike, and a spike that is not taken from 1."""
    one = numpy_helper.from_array(np.ones((), np.float32), "one")
    nodes = [
        helper.make_node("Sub", ["one", "x"], ["kept"]),
        helper.make_node("Mul", ["kept", "x"], ["y"]),
        helper.make_node("Greater", ["x", "one"], ["fired"]),
        helper.make_node("Cast", ["fired"], ["spikes"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["spikes", "x"], ["z"]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in "xyz"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [one])
    save_passes(graph)
    assert [node.op_type for node in graph.node] == ["Sub", "Mul", "Greater", "Cast", "Mul"]
