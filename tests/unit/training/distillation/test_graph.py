"""A teacher's graph by torch is what ONNX Runtime makes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from spyv4.config import VOC_CLASSES
from spyv4.errors import CheckpointError
from training.distillation.graph import OPERATIONS, OnnxGraph
from training.distillation.teacher import Teacher

YOLOX = Path(__file__).parents[5] / "shared/data/teacher/yolox_nano.onnx"


def constants() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)

    def kernel(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return {
        "of_all": kernel(6, 12, 3, 3),
        "bias": kernel(6),
        "of_each": kernel(6, 1, 5, 5),
        "half": np.array(0.5, np.float32),
        "zero": np.array([0]),
        "one": np.array([1]),
        "two": np.array([2]),
        "rows": np.array([2]),
        "columns": np.array([3]),
        "far": np.array([2**63 - 1]),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "flat": np.array([0, 12, -1]),
    }


def graph() -> Any:
    """All operations, after YOLOX's fashion: every second pixel, depthwise kernels, pyramids."""
    node = helper.make_node
    nodes = []
    for name, row, column in (("a", "zero", "zero"), ("b", "one", "zero"), ("c", "zero", "one")):
        nodes.append(node("Slice", ["images", row, "far", "rows", "two"], [f"rows_{name}"]))
        nodes.append(node("Slice", [f"rows_{name}", column, "far", "columns", "two"], [name]))
    nodes += [
        node("Concat", ["a", "b", "c", "a"], ["packed"], axis=1),
        node("Conv", ["packed", "of_all", "bias"], ["x"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Sigmoid", ["x"], ["gate"]),
        node("Mul", ["x", "gate"], ["silu"]),
        node("Conv", ["silu", "of_each"], ["each"], pads=[2, 2, 2, 2], group=6),
        node("Mul", ["each", "half"], ["smaller"]),
        node("Add", ["silu", "smaller"], ["sum"]),
        node("MaxPool", ["sum"], ["largest"], kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1]),
        node("Concat", ["largest", "sum"], ["both"], axis=1),
        node(
            "Resize",
            ["both", "", "twice"],
            ["up"],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
        node("Reshape", ["up", "flat"], ["lines"]),
        node("Transpose", ["lines"], ["out"], perm=[0, 2, 1]),
    ]
    assert {n.op_type for n in nodes} == set(OPERATIONS)
    made = helper.make_graph(
        nodes,
        "all",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("out", "largest")
        ],
        [numpy_helper.from_array(value, name) for name, value in constants().items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return model


def test_every_operation_is_that_of_onnx() -> None:
    model = graph()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    wanted = session.run(["out", "largest"], {"images": images.numpy()})
    found = OnnxGraph(model, ["out", "largest"])(images)
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(other).max() > 1
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("Transpose", {"op_type": "Einsum"}),
        ("Conv", {"pads": [1, 1, 0, 0]}),
        ("Conv", {"auto_pad": "SAME_UPPER"}),
        ("MaxPool", {"ceil_mode": 1}),
        ("Resize", {"mode": "linear"}),
        ("Resize", {"coordinate_transformation_mode": "half_pixel"}),
        ("Resize", {"nearest_mode": "ceil"}),
    ],
)
def test_what_is_not_known_is_refused(place: str, changes: dict[str, Any]) -> None:
    model = graph()
    node = next(node for node in model.graph.node if node.op_type == place)
    node.op_type = changes.pop("op_type", place)
    for name in changes:
        for old in [a for a in node.attribute if a.name == name]:
            node.attribute.remove(old)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in changes.items())
    with pytest.raises(CheckpointError, match=f"a teacher with the {node.op_type} that makes"):
        OnnxGraph(model, ["out"])


@pytest.mark.skipif(not YOLOX.is_file(), reason="needs the teacher of ../shared/data")
def test_yolox_answers_alike() -> None:
    images = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8)
    here = torch.device("cpu")
    one, other = (Teacher(YOLOX, VOC_CLASSES, device)(images) for device in (None, here))
    for a, b in zip((*one.scores, *one.features), (*other.scores, *other.features), strict=True):
        torch.testing.assert_close(a, b, atol=4e-3, rtol=4e-3)
