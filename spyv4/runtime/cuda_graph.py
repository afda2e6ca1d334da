"""One read as a CUDA graph: what takes more than a hundred launches otherwise takes one.

A graph repeats work on memory that never moves. So a read copies what it is given into that memory,
replays the graph, and copies what came out of it: a state stays a value, which its owner may keep,
go on from twice, and interleave with others. The copies are two launches a dtype, and their traffic
(a few megabytes at batch 1) is next to nothing on a GPU.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from spyv4.activity import Activity, summarise
from spyv4.errors import RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.network.table import LAYER_NAMES, STRIDES
from spyv4.runtime.base import StepResult, wrong_state
from spyv4.runtime.step_compiler import check_step
from spyv4.runtime.torch_runtime import TorchRuntime

KEPT_GRAPHS = 16
"""The most that are kept; a server that joins up to 8 pictures, with activity or without, has so
many."""
WARM_UPS = 3

Work = Callable[[], list[Tensor]]
_Key = tuple[tuple[int, ...], bool]


class Recorded(NamedTuple):
    """Work that is repeated on the same memory.

    Attributes:
        replay: repeats it.
        outputs: what it writes, in the same place every time.
    """

    replay: Callable[[], None]
    outputs: list[Tensor]


class Recorder(Protocol):
    """Makes work repeatable."""

    def record(self, work: Work) -> Recorded:
        """Do some work once or more, and make it repeatable; no replay may be under way after it.

        Raises:
            RuntimeUnavailableError: if that cannot be done.
        """

    def turn(self) -> AbstractContextManager[None]:
        """Within it, work begins after that of the turn before, whoever queued that."""


class CudaRecorder:
    """Records work on a GPU as CUDA graphs, all in one pool of memory.

    They may share it, since in turns no two run at once, and all outputs are copied in their turn.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._pool = torch.cuda.graph_pool_handle()
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def record(self, work: Work) -> Recorded:
        """Warm up, since kernels are chosen and loaded at their first launch, and capture.

        Waits for the GPU, before it captures: so that what was replayed before is done.

        Raises:
            RuntimeUnavailableError: if the GPU refuses.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            # Entered here, too: a capture that fails does not leave its stream.
            with torch.cuda.device(self._device), _aside(self._stream):
                for _ in range(WARM_UPS):
                    work()
                with torch.cuda.graph(
                    graph,
                    pool=self._pool,
                    stream=self._stream,
                    # Other threads may use the GPU meanwhile.
                    capture_error_mode="thread_local",
                ):
                    outputs = work()
        except RuntimeError as error:
            raise RuntimeUnavailableError(
                f"a read cannot be recorded as a CUDA graph: {str(error).splitlines()[0]}; use "
                "compile=False (--no-compile)"
            ) from error
        return Recorded(graph.replay, outputs)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Callers may have streams of their own, and graphs have but one memory."""
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(self._done)
        try:
            yield
        finally:
            self._done.record(stream)


@contextmanager
def _aside(side: torch.cuda.Stream) -> Iterator[None]:
    """Another stream, after what is queued, and before what will be."""
    current = torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        yield
    current.wait_stream(side)


class GraphStep:
    """The one-read step of a network, recorded for every batch and size when it is first met.

    From any thread, and on any CUDA stream.

    Args:
        model: for inference, on the device of the recorder; its parameters stay where they are.
        recorder: records the reads.
        kept: the most that are kept; those that were used longest ago go.
    """

    def __init__(self, model: SPYv4, recorder: Recorder, *, kept: int = KEPT_GRAPHS) -> None:
        self._model, self._recorder, self._kept = model, recorder, kept
        self._graphs: OrderedDict[_Key, _Graph] = OrderedDict()
        self._lock = threading.Lock()

    @torch.inference_mode()
    def step(self, prepared: Tensor, state: SPYv4State, *, activity: bool = False) -> StepResult:
        """One read of prepared images [B, ...].

        Raises:
            StateShapeError: if the state is not of this network, batch and size.
            RuntimeUnavailableError: if the read cannot be recorded.
        """
        with self._lock, self._recorder.turn():
            return self._graph((tuple(prepared.shape), activity)).read(prepared, state)

    def _graph(self, key: _Key) -> "_Graph":
        if key not in self._graphs:
            self._graphs[key] = _Graph(self._model, self._recorder, key)
            # After recording, when no replay of it is under way.
            if len(self._graphs) > self._kept:
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        return self._graphs[key]


class _Graph:
    """The recorded read of one batch and size, with or without activity, and its memory."""

    def __init__(self, model: SPYv4, recorder: Recorder, key: _Key) -> None:
        shape, activity = key
        self._spec: TreeSpec
        # No tensors of inference mode, which could not be written to outside of it.
        with torch.inference_mode(mode=False), torch.no_grad():
            prepared, state = _inputs(model, shape)
            leaves, self._spec = tree_flatten(state)

            def work() -> list[Tensor]:
                maps, after, spikes = model.step_from_current(prepared, state)
                rest = summarise(spikes) if activity else ()
                return [*maps, *tree_flatten(after)[0], *rest]

            self._recorded = recorder.record(work)
        self._inputs = [prepared, *leaves]
        self._maps = len(model.outputs)

    def read(self, prepared: Tensor, state: SPYv4State) -> StepResult:
        """One read, in whose result nothing is the graph's own."""
        leaves, spec = tree_flatten(state)
        if spec != self._spec:
            raise wrong_state(f"{len(leaves)} tensors, where {len(self._inputs) - 1} are needed")
        given = [prepared, *leaves]
        for tensor, own in zip(given, self._inputs, strict=True):
            _check(tensor, own)
        _copy(self._inputs, given)
        self._recorded.replay()
        results = [torch.empty_like(tensor) for tensor in self._recorded.outputs]
        _copy(results, self._recorded.outputs)
        maps, rest = results[: self._maps], results[self._maps :]
        after, activity = rest[: len(leaves)], rest[len(leaves) :]
        return StepResult(
            tuple(maps),
            tree_unflatten(after, spec),
            Activity(*activity) if activity else None,
        )


def _inputs(model: SPYv4, shape: tuple[int, ...]) -> tuple[Tensor, SPYv4State]:
    """Memory for the current of the first layer and for the state, laid out as reads hand it on.

    Only tensors of one layout are copied in one launch.
    """
    weight = model.outputs[0].weight
    prepared = torch.zeros(shape, dtype=weight.dtype, device=weight.device)
    prepared = prepared.to(memory_format=torch.channels_last)
    stride = STRIDES[LAYER_NAMES[0]]
    image_size = (shape[2] * stride, shape[3] * stride)
    _, state, _ = model.step_from_current(prepared, model.initial_state(shape[0], image_size))
    leaves, spec = tree_flatten(state)
    return prepared, tree_unflatten([leaf.clone() for leaf in leaves], spec)


def _check(tensor: Tensor, own: Tensor) -> None:
    """Refuse what would be converted or stretched by copying it."""
    facts: list[tuple[Any, ...]] = [
        (tuple(each.shape), each.dtype, each.device) for each in (tensor, own)
    ]
    if facts[0] != facts[1]:
        given, needed = ("{} in {} on {}".format(*fact) for fact in facts)
        raise wrong_state(f"{given}, where {needed} is needed")


def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each to each, in one launch a dtype where they are laid out alike."""
    for dtype in {target.dtype for target in targets}:
        pairs = [pair for pair in zip(targets, sources, strict=True) if pair[0].dtype == dtype]
        torch._foreach_copy_([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def has_graphs(device: torch.device) -> bool:
    """Whether reads can be recorded on a device."""
    return device.type == "cuda"


def record_step(runtime: TorchRuntime, image_size: tuple[int, int]) -> GraphStep:
    """The step of `runtime`'s network as a CUDA graph, compared with the network itself.

    It takes about a second. Other batches and sizes are recorded when they are met.

    Args:
        runtime: on a GPU.
        image_size: (height, width) in pixels, to compare at.

    Raises:
        RuntimeUnavailableError: if it cannot be recorded, or does not agree.
    """
    step = GraphStep(runtime.model, CudaRecorder(runtime.device))
    check_step(runtime, runtime, image_size, step)
    return step
