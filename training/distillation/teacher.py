"""A teacher: YOLOX exported to ONNX, asked for what it thinks of every place of a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spyv4.errors import CheckpointError, ConfigError
from spyv4.extras import require_extra
from training.distillation.coco_classes import COCO_CLASSES, coco_index
from training.distillation.graph import OnnxGraph

STRIDES = (8, 16, 32)
_TRIAL_SIZE = (64, 64)
BEFORE_CLASSES = 5
"""Outputs of a place before those of the classes: four of the box, and objectness."""


class TeacherView(NamedTuple):
    """What the teacher says of a batch, by stride (8, 16, 32).

    Attributes:
        scores: objectness times class probability, 0..1, float16 [B, classes, H, W].
        features: what its heads see, float16 [B, channels, H, W].
    """

    scores: tuple[Tensor, ...]
    features: tuple[Tensor, ...]

    def to(self, device: torch.device) -> "TeacherView":
        """The same on `device`."""
        scores, features = ([x.to(device, non_blocking=True) for x in part] for part in self)
        return TeacherView(tuple(scores), tuple(features))


class Teacher:
    """YOLOX of any size and input size, as its authors export it (opset 11 or later).

    The pictures may be of any size, whatever the file was exported for, since the network is
    convolutional. It runs in this process: with one thread of ONNX Runtime's, or on a device.

    Args:
        path: the .onnx file.
        class_names: the classes to be taught; those that COCO does not have are not.
        device: where the pictures are that it will be shown; None for ONNX Runtime.

    Raises:
        CheckpointError: if the file is no YOLOX detector of COCO's classes.
        ConfigError: if it knows none of the classes.
        RuntimeUnavailableError: if the extra `onnx` is missing.
    """

    def __init__(
        self, path: Path, class_names: Sequence[str], device: torch.device | None = None
    ) -> None:
        require_extra("onnx", "a teacher")
        import onnx  # here: an extra
        import onnxruntime

        if not path.is_file():
            raise CheckpointError(f"no teacher at {path}")
        try:
            model = onnx.load(str(path))
        except Exception as error:  # protobuf's own, of no common kind
            raise CheckpointError(f"{path} is no ONNX file: {error}") from error
        indices = [coco_index(name) for name in class_names]
        self.known = [index for index, place in enumerate(indices) if place is not None]
        """Indices of the classes that it teaches."""
        if not self.known:
            raise ConfigError(f"the teacher {path} knows none of the classes; leave it out")
        self._places = [BEFORE_CLASSES + place for place in indices if place is not None]
        self._classes = len(class_names)
        self.own_size = _own_size(model)
        """(height, width) that the file was exported for; None if for any."""
        features = _prepare(model, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name, *features]
        self._look: Callable[[Tensor], list[Tensor]] | None = None
        trial = torch.zeros(1, 3, *_TRIAL_SIZE, dtype=torch.uint8)
        output = self.raw(trial)
        places = sum(height * width for height, width in grids(_TRIAL_SIZE))
        expected = (1, places, BEFORE_CLASSES + len(COCO_CLASSES))
        if output.shape != expected:
            raise CheckpointError(f"{path} gives {output.shape} instead of YOLOX's {expected}")
        self.channels = self(trial).features[0].shape[1]
        """Of its features, at every stride."""
        if device is not None:
            self._look = _on_device(OnnxGraph(model, self._outputs), device)

    def _fed(self, images_rgb: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """YOLOX wants BGR in 0..255."""
        return {self._input: np.ascontiguousarray(images_rgb[:, ::-1], np.float32)}

    def raw(self, images: Tensor) -> NDArray[np.float32]:
        """Its own output for uint8 RGB pictures [B, 3, H, W]: [B, places, 5 + classes of COCO]."""
        output: NDArray[np.float32] = self._session.run(
            self._outputs[:1], self._fed(images.numpy())
        )[0]
        return output

    def __call__(self, images: Tensor) -> TeacherView:
        """Look at uint8 RGB pictures, [B, 3, H, W], sides multiples of 32."""
        if self._look is not None:
            flat, *features = self._look(images)
        else:
            found = self._session.run(self._outputs, self._fed(images.numpy()))
            flat, *features = map(torch.from_numpy, found)
        scores = flat.new_zeros((*flat.shape[:2], self._classes), dtype=torch.float16)
        scores[..., self.known] = (flat[..., 4:5] * flat[..., self._places]).half()
        by_stride, first = [], 0
        for height, width in grids((images.shape[2], images.shape[3])):
            part = scores[:, first : first + height * width].reshape(
                -1, height, width, self._classes
            )
            by_stride.append(part.permute(0, 3, 1, 2).contiguous())
            first += height * width
        return TeacherView(
            tuple(by_stride),
            tuple(feature.half() for feature in features),
        )


def _on_device(graph: OnnxGraph, device: torch.device) -> Callable[[Tensor], list[Tensor]]:
    """The graph for uint8 RGB pictures that are there; in half precision on a GPU."""
    low = device.type == "cuda"
    kind = torch.float16 if low else torch.float32
    graph = graph.to(device, kind).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def look(images: Tensor) -> list[Tensor]:
        found: list[Tensor] = graph(images.flip(1).to(kind, memory_format=torch.channels_last))
        return found

    return torch.compile(look, dynamic=False) if low else look


def grids(image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """(height, width) in cells of every level, fine to coarse, for images of this size."""
    return [(image_size[0] // stride, image_size[1] // stride) for stride in STRIDES]


def _own_size(model: Any) -> tuple[int, int] | None:
    """(height, width) that a file was exported for; None if for any."""
    sides = [d.dim_value for i in model.graph.input for d in i.type.tensor_type.shape.dim][2:4]
    return (sides[0], sides[1]) if len(sides) == 2 and all(sides) else None


def _prepare(model: Any, path: Path) -> list[str]:
    """Free batch and picture size of an ONNX graph, and make what its heads see an output.

    Returns:
        The names of these outputs, fine to coarse.
    """
    import onnx

    graph = model.graph
    producer = {name: node for node in graph.node for name in node.output}
    levels = [
        node
        for node in graph.node
        if node.op_type == "Concat"
        and [producer[i].op_type if i in producer else "" for i in node.input]
        == ["Conv", "Sigmoid", "Sigmoid"]
    ]
    if len(levels) != len(STRIDES) or len(graph.input) != 1:
        raise CheckpointError(
            f"{path} is not YOLOX as its authors export it: it has {len(levels)} levels of box, "
            f"objectness and class scores, not {len(STRIDES)}"
        )
    dimensions = graph.input[0].type.tensor_type.shape.dim
    for place, name in ((0, "batch"), (2, "height"), (3, "width")):
        dimensions[place].dim_param = name
    for dimension in graph.output[0].type.tensor_type.shape.dim:
        dimension.ClearField("value")
    del graph.value_info[:]
    shapes = {n.input[1] for n in graph.node if n.op_type == "Reshape"}
    for constant in graph.initializer:
        value = onnx.numpy_helper.to_array(constant)
        if constant.name in shapes and value[0] == 1:
            freed = np.array([0, *value[1:]], value.dtype)  # 0 keeps the size of the batch
            constant.CopyFrom(onnx.numpy_helper.from_array(freed, constant.name))
    found = []
    for level in levels:
        boxes, _, classes = (_ancestors(name, producer) for name in level.input)
        found.append(next(name for name in boxes if name in set(classes)))
        graph.output.append(onnx.helper.make_empty_tensor_value_info(found[-1]))
    return found


def _ancestors(name: str, producer: dict[str, Any]) -> list[str]:
    """The tensors that one is computed from, nearest first."""
    order, waiting = [name], [name]
    while waiting:
        node = producer.get(waiting.pop(0))
        for above in node.input if node is not None else ():
            if above in producer and above not in order:
                order.append(above)
                waiting.append(above)
    return order
