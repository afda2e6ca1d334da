"""Whether an exported file does what torch does."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.runtime.int8 import LEVELS, replace_convolutions, round_weight
from spyv4.runtime.onnx_export import FlatStep

# Potentials agree to float rounding; a neuron whose potential is within rounding of its threshold
# may spike on one side alone, and what it drives then differs for real.
TOLERANCE = 1e-3
ALLOWED_SHARE = 1e-3
# In 8 bits more is at the edge: the input of a rate that is rounded the other way is enough to tip
# a spike, and one that tips in the first layers changes most of what its picture drives.
ALLOWED_SHARE_INT8 = 0.1


class ExportCheck(NamedTuple):
    """How far ONNX Runtime and torch differ.

    Attributes:
        state: `zero` or `non-zero`, what the step started from.
        largest: largest absolute difference of any output but the neurons that did not agree.
        differing_share: share of values that differ by more than 0.001.
        allowed_share: how much of that the precision accounts for.
    """

    state: str
    largest: float
    differing_share: float
    allowed_share: float

    @property
    def passed(self) -> bool:
        """Whether no more differs than is accounted for."""
        return self.differing_share <= self.allowed_share


class _RoundedConv2d(nn.Module):
    """A convolution whose input and weights are rounded to 8 bits, in float32 for any processor.

    Args:
        conv: the convolution, batch norm folded in.
        in_scale: value of one step of the input.
        zero_point: step that stands for 0.
    """

    def __init__(self, conv: nn.Conv2d, in_scale: float, zero_point: int) -> None:
        super().__init__()
        rounded, scale = round_weight(conv.weight.detach())
        self.conv, self.weight = conv, rounded.float() * scale[:, None, None, None]
        self.in_scale, self.zero_point = in_scale, zero_point

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W]."""
        steps = (x / self.in_scale + self.zero_point).round().clamp(0, LEVELS - 1)
        x = (steps - self.zero_point) * self.in_scale
        return torch.conv2d(x, self.weight, self.conv.bias, self.conv.stride, self.conv.padding)


def check_export(model: SPYv4, path: Path, image_size: tuple[int, int]) -> list[ExportCheck]:
    """Compare one read by ONNX Runtime on the CPU with torch, at zero and at non-zero state.

    Args:
        model: what was exported, as it was before; it is changed in place.
        path: the exported file.
        image_size: (height, width) in pixels to compare at.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    model.fold().float().requires_grad_(False)
    metadata = session.get_modelmeta().custom_metadata_map
    in_bytes = metadata["precision"] == "int8"
    if in_bytes:
        replace_convolutions(model, _RoundedConv2d)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, *image_size, generator=generator)
    zero = model.initial_state(3, image_size)
    _, warm = model.run(images, 2)
    allowed = ALLOWED_SHARE_INT8 if in_bytes else ALLOWED_SHARE
    return [
        ExportCheck(name, *_compare(session, model, images, state), allowed)
        for name, state in (("zero", zero), ("non-zero", warm))
    ]


@torch.inference_mode()
def _compare(
    session: onnxruntime.InferenceSession, model: SPYv4, images: Tensor, state: SPYv4State
) -> tuple[float, float]:
    """The largest difference of what agrees, and the share of what does not."""
    flat, spec = tree_flatten(state)
    expected = FlatStep(model, spec)(images, *flat)
    turned = session.get_modelmeta().custom_metadata_map["layout"] == "NHWC"

    def turn(name: str, array: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
        inside = turned and name.startswith(("layers.", "next.layers.", "spikes."))
        return np.ascontiguousarray(array.transpose(axes) if inside else array)

    given = zip(session.get_inputs(), (images, *flat), strict=True)
    outputs = session.run(None, {n.name: turn(n.name, t.numpy(), (0, 2, 3, 1)) for n, t in given})
    found = [
        turn(node.name, array, (0, 3, 1, 2))
        for node, array in zip(session.get_outputs(), outputs, strict=True)
    ]
    difference = np.concatenate(
        [np.abs(a - b.numpy()).ravel() for a, b in zip(found, expected, strict=True)]
    )
    agreeing = difference <= TOLERANCE  # which no NaN does
    return float(difference[agreeing].max(initial=0)), float(1 - agreeing.mean())
