"""Compiles the one-read step ahead of time, which takes a minute of a core and needs g++.

The result is a shared library that holds the weights, in the order that the convolutions want them
(`spyv4.runtime.step_package` runs it). Batch norms are folded, elementwise work is fused, and the
batch is free: measured, a fixed batch wins nothing.
"""

import json
import os
import shutil
import tempfile
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from spyv4.activity import summarise
from spyv4.errors import RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4
from spyv4.runtime.base import Step
from spyv4.runtime.step_package import ABOUT, LIBRARY
from spyv4.runtime.torch_runtime import TorchRuntime, can_compile

_EXAMPLE_BATCH, _LARGEST_BATCH = 2, 4096  # an example of 1 would be taken for fixed
TOLERANCE, MAX_DIFFERING_SHARE = 0.05, 0.01
"""Of `check_step`: a step of bfloat16 near the threshold is 0.008."""


class _FlatStep(nn.Module):
    """The step with the state as a list of tensors."""

    def __init__(self, model: SPYv4, spec: TreeSpec) -> None:
        super().__init__()
        self.model = model
        self.spec = spec

    def forward(self, current: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Head maps, the fields of `Activity`, and the tensors of the new state."""
        before = tree_unflatten(list(state), self.spec)
        maps, after, spikes = self.model.step_from_current(current, before)
        return (*maps, *summarise(spikes), *tree_flatten(after)[0])


@torch.no_grad()
def compile_step(runtime: TorchRuntime, image_size: tuple[int, int], folder: Path) -> None:
    """Compile the step of `runtime`'s network and put it into `folder`, whole or not at all.

    Args:
        runtime: on the CPU, in the precision that is wanted.
        image_size: (height, width) in pixels, fixed in the package.
        folder: replaced if it exists.

    Raises:
        RuntimeUnavailableError: if there is no C++ compiler, or it fails.
    """
    if not can_compile():
        raise RuntimeUnavailableError("compiling needs a C++ compiler (g++); install one")
    prepared = runtime.prepare(torch.zeros(_EXAMPLE_BATCH, 3, *image_size))
    state = runtime.initial_state(_EXAMPLE_BATCH, image_size)
    leaves, spec = tree_flatten(state)
    # Clones, since what was made in inference mode cannot be exported.
    inputs = [tensor.clone() for tensor in (prepared, *leaves)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as name:
        built = Path(name) / "built"
        built.mkdir()
        _compile(_FlatStep(runtime.model, spec), inputs, Path(name), built / LIBRARY)
        about = {
            "maps": len(runtime.config.heads),
            "outputs": len(runtime.config.heads) + len(leaves) + 4,
            "inputs": [_described(tensor) for tensor in inputs],
        }
        (built / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        built.rename(folder)


def _compile(step: nn.Module, inputs: list[Tensor], work: Path, library: Path) -> None:
    import torch._inductor.exc  # here: the compiler takes seconds to import
    from torch._inductor import aoti_compile_and_package

    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    shapes = ({0: batch}, tuple({0: batch} for _ in inputs[1:]))
    package = work / "step.pt2"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(work / "inductor"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch to itself
            program = torch.export.export(step, tuple(inputs), dynamic_shapes=shapes)
            aoti_compile_and_package(
                program, package_path=str(package), inductor_configs={"freezing": True}
            )
    except torch._inductor.exc.CppCompileError as error:
        raise RuntimeUnavailableError(
            f"the C++ compiler failed: {str(error).splitlines()[0]}"
        ) from error
    with zipfile.ZipFile(package) as archive:
        (member,) = (each for each in archive.namelist() if each.endswith(".so"))
        with archive.open(member) as source, library.open("wb") as target:
            shutil.copyfileobj(source, target)


def _described(tensor: Tensor) -> tuple[list[int], str, bool]:
    """The arguments of `step_package`'s inputs."""
    channels_last = tensor.ndim == 4 and not tensor.is_contiguous()
    return list(tensor.shape[1:]), str(tensor.dtype).removeprefix("torch."), channels_last


@torch.inference_mode()
def check_step(runtime: TorchRuntime, image_size: tuple[int, int], step: Step) -> None:
    """Compare two reads of a picture of noise by a compiled step with the same by its network.

    Sums of another order move a potential that is within rounding of its threshold, and a spike
    moves what it drives: so a few values may differ, and the others may not.

    Raises:
        RuntimeUnavailableError: if more of them differ.
    """
    images = torch.rand(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    prepared = runtime.prepare(images)
    state = runtime.step(prepared, runtime.initial_state(1, image_size)).state
    expected, _ = tree_flatten(runtime.step(prepared, state, activity=True))
    found, _ = tree_flatten(step.step(prepared, state, activity=True))
    apart = [
        (a.float() - b.float()).abs() > TOLERANCE for a, b in zip(expected, found, strict=True)
    ]
    share = torch.cat([each.flatten() for each in apart]).float().mean().item()
    if not share <= MAX_DIFFERING_SHARE:
        raise RuntimeUnavailableError(
            f"the compiled {runtime.precision} step was not used: {share:.1%} of its values differ "
            "from those of the network itself"
        )
