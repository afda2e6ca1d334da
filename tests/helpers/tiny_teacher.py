"""A detector of YOLOX's form with random weights, as an ONNX file."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 8


def write_teacher(path: Path, *, levels: int = 3, side: int = 64) -> Path:
    """Convolutions and nothing else, at strides 8, 16, 32; exported for one picture of `side`."""
    rng = np.random.default_rng(0)
    nodes, constants, flat = [], [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    def conv(source: str, name: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        scale = 3 / np.sqrt(inputs * kernel * kernel)
        weight = rng.normal(scale=scale, size=(outputs, inputs, kernel, kernel)).astype(np.float32)
        strides = [stride, stride]
        nodes.append(
            helper.make_node(
                "Conv",
                [source, constant(f"{name}.weight", weight)],
                [name],
                kernel_shape=[kernel, kernel],
                strides=strides,
            )
        )
        return name

    def sigmoid(source: str) -> str:
        nodes.append(helper.make_node("Sigmoid", [source], [f"{source}.sigmoid"]))
        return f"{source}.sigmoid"

    bytes_to_one = constant("scale", np.array(1 / 255, np.float32))
    nodes.append(helper.make_node("Mul", ["images", bytes_to_one], ["pixels"]))
    shape = constant("shape", np.array([1, 85, -1], np.int64))
    for stride in (8, 16, 32)[:levels]:
        stem = conv("pixels", f"stem{stride}", 3, CHANNELS, stride, stride)
        nodes.append(helper.make_node("Mul", [stem, sigmoid(stem)], [f"silu{stride}"]))
        seen = f"silu{stride}"
        of_classes = conv(seen, f"tower_classes{stride}", CHANNELS, CHANNELS, 1, 1)
        of_boxes = conv(seen, f"tower_boxes{stride}", CHANNELS, CHANNELS, 1, 1)
        parts = [
            conv(of_boxes, f"boxes{stride}", CHANNELS, 4, 1, 1),
            sigmoid(conv(of_boxes, f"objectness{stride}", CHANNELS, 1, 1, 1)),
            sigmoid(conv(of_classes, f"classes{stride}", CHANNELS, 80, 1, 1)),
        ]
        nodes.append(helper.make_node("Concat", parts, [f"level{stride}"], axis=1))
        nodes.append(helper.make_node("Reshape", [f"level{stride}", shape], [f"flat{stride}"]))
        flat.append(f"flat{stride}")
    nodes.append(helper.make_node("Concat", flat, ["all"], axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["output"], perm=[0, 2, 1]))
    places = sum((side // stride) ** 2 for stride in (8, 16, 32)[:levels])
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, places, 85])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path
