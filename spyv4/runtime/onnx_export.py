"""The one-read step as ONNX: (images, state) -> (head maps, activity, state)."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_flatten_with_path, tree_unflatten

from spyv4.activity import Activity, summarise
from spyv4.files import write_atomically
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.validation import to_mapping

ONNX_FORMAT = "spyv4-onnx-3"
OPSET = 18
# Potentials agree to float rounding; a neuron whose potential is within rounding of its threshold
# may spike on one side alone, and what it drives then differs for real.
TOLERANCE = 1e-3
MAX_DIFFERING_SHARE = 1e-3


class _FlatStep(nn.Module):
    """The step with the state as a list of tensors, which is all that ONNX knows."""

    def __init__(self, model: SPYv4, spec: TreeSpec) -> None:
        super().__init__()
        self.model = model
        self.spec = spec

    def forward(self, images: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Head maps, the fields of `Activity`, and the tensors of the new state."""
        before: SPYv4State = tree_unflatten(list(state), self.spec)
        maps, after, spikes = self.model.step_from_current(self.model.current(images), before)
        return (*maps, *summarise(spikes), *tree_flatten(after)[0])


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


def state_names(state: SPYv4State) -> list[str]:
    """A name for every tensor of a state, for example `layers.csp1_a.u`."""
    leaves, _ = tree_flatten_with_path(state)
    return [".".join(str(key).strip(".[]'") for key in path) for path, _ in leaves]


def export_onnx(model: SPYv4, path: Path, image_size: tuple[int, int]) -> None:
    """Write the one-read step of `model`, batch norms folded in, with a dynamic batch.

    Args:
        model: is folded in place.
        path: the .onnx file, replaced if it exists.
        image_size: (height, width) in pixels, multiples of 32, fixed in the file.
    """
    model.fold().float().requires_grad_(False)
    state = model.initial_state(2, image_size)
    flat, spec = tree_flatten(state)
    names = state_names(state)
    outputs = [f"head_{head.layer}" for head in model.config.heads]
    outputs += [*Activity._fields, *(f"next.{name}" for name in names)]
    images = torch.zeros(2, 3, *image_size)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with _quiet_exporter():
        program = cast(
            "torch.onnx.ONNXProgram",
            torch.onnx.export(
                _FlatStep(model, spec),
                (images, *flat),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=["images", *names],
                output_names=outputs,
                dynamic_shapes=({0: batch}, tuple({0: batch} for _ in flat)),
            ),
        )
    proto = program.model_proto
    metadata = {
        "format": ONNX_FORMAT,
        "config": json.dumps(to_mapping(model.config)),
        "image_size": json.dumps(image_size),
    }
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto)
    write_atomically(path, lambda temporary: onnx.save(proto, temporary))


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Its own use of what torch deprecates is nothing that a user can mend."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


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
    expected = _FlatStep(model, spec)(images, *flat)
    names = [node.name for node in session.get_inputs()]
    feed = {n: t.numpy() for n, t in zip(names, (images, *flat), strict=True)}
    outputs = session.run(None, feed)
    difference = np.concatenate(
        [np.abs(a - b.numpy()).ravel() for a, b in zip(outputs, expected, strict=True)]
    )
    agreeing = difference <= TOLERANCE  # which no NaN does
    largest = float(difference[agreeing].max(initial=0))
    return ExportCheck(name, largest, float(1 - agreeing.mean()))
