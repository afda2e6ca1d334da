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
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from spyv4.activity import summarise
from spyv4.errors import RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.runtime.base import Step, StepResult
from spyv4.runtime.step_package import ABOUT, LIBRARY
from spyv4.runtime.torch_runtime import TorchRuntime, can_compile

_EXAMPLE_BATCH, _LARGEST_BATCH = 2, 4096  # an example of 1 would be taken for fixed
TOLERANCE = 0.02
"""Of `check_step`, as a share of the mean output: what a flipped spike or two may cost."""


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


def check_step(
    reference: TorchRuntime, runtime: TorchRuntime, image_size: tuple[int, int], step: Step
) -> None:
    """Compare a compiled step with the network that it was made from.

    Roundings move a potential that is near its threshold, and a spike moves all that it drives: so
    two engines of one precision agree in nothing but their distance from the exact network, which
    must not be larger for the compiled one.

    Args:
        reference: the same network in float32, operator by operator.
        runtime: the network that was compiled, operator by operator.
        image_size: (height, width) in pixels.
        step: the compiled step.

    Raises:
        RuntimeUnavailableError: if it is further away.
    """
    images = torch.rand(2, 3, *image_size, generator=torch.Generator().manual_seed(0))
    exact = _maps(reference, reference.step, images)
    own = _maps(runtime, runtime.step, images)
    compiled = _maps(runtime, step.step, images)
    scale = exact.abs().mean().item()
    allowed = 2 * (own - exact).abs().mean().item() + TOLERANCE * scale
    distance = (compiled - exact).abs().mean().item()
    if not distance <= allowed:
        raise RuntimeUnavailableError(
            f"the compiled {runtime.precision} step was not used: it is off by "
            f"{distance / scale:.1%} where {allowed / scale:.1%} were to be expected"
        )


@torch.inference_mode()
def _maps(
    runtime: TorchRuntime, step: Callable[[Tensor, SPYv4State], StepResult], images: Tensor
) -> Tensor:
    """All head maps of three reads, as one vector."""
    prepared = runtime.prepare(images)
    state = runtime.initial_state(len(images), (images.shape[2], images.shape[3]))
    found = []
    for _ in range(3):
        result = step(prepared, state)
        state = result.state
        found += [each.float().flatten() for each in result.maps]
    return torch.cat(found)
