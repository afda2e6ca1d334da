"""Whether an exported file does what torch does."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.runtime.onnx_export import FlatStep

# Potentials agree to float rounding; a neuron whose potential is within rounding of its threshold
# may spike on one side alone, and what it drives then differs for real.
TOLERANCE = 1e-3
MAX_DIFFERING_SHARE = 1e-3


class ExportCheck(NamedTuple):
    """How far ONNX Runtime and torch differ.

    Attributes:
        state: `zero` or `non-zero`, what the step started from.
        largest: largest absolute difference of any output but the neurons that did not agree.
        differing_share: share of values that differ by more than 0.001.
    """

    state: str
    largest: float
    differing_share: float

    @property
    def passed(self) -> bool:
        """Whether less than one value in a thousand differs."""
        return self.differing_share <= MAX_DIFFERING_SHARE


def check_export(model: SPYv4, path: Path, image_size: tuple[int, int]) -> list[ExportCheck]:
    """Compare one read by ONNX Runtime on the CPU with torch, at zero and at non-zero state."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, *image_size, generator=generator)
    zero = model.initial_state(3, image_size)
    _, warm = model.run(images, 2)
    return [
        _compare(session, model, images, state, name)
        for name, state in (("zero", zero), ("non-zero", warm))
    ]


@torch.inference_mode()
def _compare(
    session: onnxruntime.InferenceSession,
    model: SPYv4,
    images: Tensor,
    state: SPYv4State,
    name: str,
) -> ExportCheck:
    flat, spec = tree_flatten(state)
    expected = FlatStep(model, spec)(images, *flat)
    names = [node.name for node in session.get_inputs()]
    feed = {n: t.numpy() for n, t in zip(names, (images, *flat), strict=True)}
    outputs = session.run(None, feed)
    difference = np.concatenate(
        [np.abs(a - b.numpy()).ravel() for a, b in zip(outputs, expected, strict=True)]
    )
    agreeing = difference <= TOLERANCE  # which no NaN does
    largest = float(difference[agreeing].max(initial=0))
    return ExportCheck(name, largest, float(1 - agreeing.mean()))
