"""A step that was compiled ahead of time: a shared library, called through its C interface.

It is called through ctypes rather than through torch's own loader because ctypes lets other Python
threads run meanwhile, and because nothing of the compiler has to be imported.
"""

import ctypes
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from spyv4.activity import Activity
from spyv4.errors import CheckpointError
from spyv4.network.spyv4 import SPYv4State
from spyv4.runtime.base import StepResult, wrong_state

LIBRARY, ABOUT = "step.so", "about.json"
_tensors = torch._C._aoti  # what turns tensors into the handles of the C interface and back

_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.argtypes, _capsule_pointer.restype = (
    (ctypes.py_object, ctypes.c_char_p),
    ctypes.c_void_p,
)
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.argtypes, _new_capsule.restype = (
    (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
    ctypes.py_object,
)


class StepPackage:
    """The compiled one-read step of one network in one precision and size, for any batch.

    Args:
        folder: that `compile_step` wrote.

    Raises:
        CheckpointError: if there is no such package or it cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            self._inputs: list[_Input] = [_Input(*each) for each in about["inputs"]]
            self._maps, self._outputs = int(about["maps"]), int(about["outputs"])
            library = ctypes.CDLL(str(folder / LIBRARY))
            self._run = library.AOTInductorModelContainerRun
            self._container = ctypes.c_void_p()
            code = library.AOTInductorModelContainerCreateWithDevice(
                ctypes.byref(self._container), ctypes.c_size_t(1), b"cpu", None
            )
            os.utime(folder)  # the packages that are not used are the first to go
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{folder} holds no compiled step: {error}") from error
        if code != 0:
            raise CheckpointError(f"the compiled step in {folder} cannot be started")

    def step(self, prepared: Tensor, state: SPYv4State, *, activity: bool = False) -> StepResult:
        """One read of prepared images [B, ...]; its activity, which costs next to nothing, is made.

        Raises:
            StateShapeError: if the state is not of this network, batch and size.
        """
        leaves, spec = tree_flatten(state)
        given = [prepared, *leaves]
        if len(given) != len(self._inputs):
            raise wrong_state(f"{len(leaves)} tensors")
        batch = len(prepared)
        inputs = [
            each.fitted(tensor, batch) for each, tensor in zip(self._inputs, given, strict=True)
        ]
        torch.get_num_threads()  # makes OpenMP know, in this thread, how many there are to be
        outputs = self._call(inputs)
        maps, rest = outputs[: self._maps], outputs[self._maps :]
        fields = len(Activity._fields)
        return StepResult(
            tuple(maps),
            tree_unflatten(rest[fields:], spec),
            Activity(*rest[:fields]) if activity else None,
        )

    def _call(self, inputs: list[Tensor]) -> list[Tensor]:
        """Outputs for inputs that fit; the library takes ownership of the handles given to it."""
        handles = (ctypes.c_void_p * len(inputs))(
            *(
                _capsule_pointer(capsule, None)
                for capsule in _tensors.unsafe_alloc_void_ptrs_from_tensors(inputs)
            )
        )
        results = (ctypes.c_void_p * self._outputs)()
        code = self._run(
            self._container,
            handles,
            ctypes.c_size_t(len(inputs)),
            results,
            ctypes.c_size_t(self._outputs),
            None,
            None,
        )
        if code != 0:
            raise RuntimeError("the compiled step failed; its error is on the standard error")
        capsules = [_new_capsule(pointer, None, None) for pointer in results]
        found: list[Tensor] = _tensors.alloc_tensors_by_stealing_from_void_ptrs(capsules)
        return found


class _Input:
    """What a tensor that goes into the library must be: it reads memory without looking.

    Args:
        shape: without the batch.
        dtype: its name in torch.
        channels_last: whether channels lie side by side in memory.
    """

    def __init__(self, shape: Sequence[int], dtype: str, channels_last: bool) -> None:
        self._shape = tuple(shape)
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._format: Any = torch.channels_last if channels_last else torch.contiguous_format

    def fitted(self, tensor: Tensor, batch: int) -> Tensor:
        """The tensor, in the order of memory that is wanted."""
        expected = (batch, *self._shape)
        if tuple(tensor.shape) != expected or tensor.dtype != self._dtype:
            raise wrong_state(
                f"{tuple(tensor.shape)} in {tensor.dtype}, where {expected} in {self._dtype} is "
                "needed"
            )
        return tensor.contiguous(memory_format=self._format)
