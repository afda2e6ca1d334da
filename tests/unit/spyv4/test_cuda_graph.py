"""Reads by a graph, with a stand-in that repeats them: memory, states, and which graph is kept."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map

from spyv4.activity import _index_tensors
from spyv4.errors import RuntimeUnavailableError, StateShapeError
from spyv4.network.spyv4 import SPYv4State
from spyv4.runtime.cuda_graph import GraphStep, Recorded, Work, has_graphs
from spyv4.runtime.torch_runtime import TorchRuntime
from tests.helpers.graphs import Repeater
from tests.helpers.tiny_model import pictures, same, tiny_model

CPU = torch.device("cpu")
SIZE = (64, 64)


def graphed(kept: int = 16, **changes: Any) -> tuple[TorchRuntime, TorchRuntime, Repeater]:
    """A runtime that reads by graphs, the same eager, and what records."""
    runtime = TorchRuntime(tiny_model(**changes), CPU)
    recorder = Repeater()
    runtime.use(GraphStep(runtime.model, recorder, kept=kept))
    return runtime, runtime.eager(), recorder


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"readout": "leaky"},
        {"neuron": {"kind": "adaptive-ltc"}},
        {"neuron": {"kind": "adaptive-lif"}},
        {"neuron": {"kind": "leaky-relu"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_reads_by_a_graph_are_those_of_the_network(changes, precision) -> None:
    runtime = TorchRuntime(tiny_model(**changes), CPU, precision=precision)
    eager = runtime.eager()
    runtime.use(GraphStep(runtime.model, Repeater()))
    assert runtime.way == ("compiled", precision)
    for batch in (1, 3):
        prepared = runtime.prepare(pictures(batch))
        state = runtime.initial_state(batch, SIZE, seed=1)
        for number in range(4):
            expected = eager.step(prepared, state, activity=number % 2 == 0)
            found = runtime.step(prepared, state, activity=number % 2 == 0)
            assert (found.activity is None) == (number % 2 == 1)
            assert same(_known(expected), _known(found))
            assert _types(expected) == _types(found)
            state = found.state


def _known(result: Any) -> Any:
    return [each for each in result if each is not None]


def _types(result: Any) -> Any:
    return [tensor.dtype for tensor in tree_leaves(_known(result))]


def test_states_are_values_whoever_reads_meanwhile() -> None:
    """Streams interleave; a state is kept, gone on from later, and from twice."""
    runtime, eager, _ = graphed(readout="leaky")
    streams = [runtime.prepare(pictures(1, seed=seed)) for seed in range(3)]
    states = [runtime.initial_state(1, SIZE, seed=seed) for seed in range(3)]
    expected = list(states)
    kept: list[tuple[SPYv4State, SPYv4State]] = []
    for _ in range(3):
        for index, prepared in enumerate(streams):
            result = runtime.step(prepared, states[index])
            wanted = eager.step(prepared, expected[index])
            assert same(_known(result), _known(wanted))
            states[index], expected[index] = result.state, wanted.state
            kept.append((result.state, tree_map(torch.clone, result.state)))
    assert all(same(*pair) for pair in kept)
    again = [runtime.step(streams[0], kept[0][0]) for _ in range(2)]
    assert same(_known(again[0]), _known(again[1]))
    assert same(again[0].state, kept[3][0])
    assert not same(again[0].state, kept[0][0])


def test_what_was_handed_in_stays_as_it_is() -> None:
    runtime, _, _ = graphed()
    prepared, state = runtime.prepare(pictures(2)), runtime.initial_state(2, SIZE, seed=0)
    before = tree_map(torch.clone, (prepared, state))
    runtime.step(prepared, state)
    assert same(before, (prepared, state))


def test_a_state_of_another_order_in_memory_is_read_right() -> None:
    runtime, _, _ = graphed()
    prepared, state = runtime.prepare(pictures(2)), runtime.initial_state(2, SIZE, seed=0)
    other = tree_map(lambda leaf: leaf.clone(memory_format=torch.contiguous_format), state)
    assert other.layers["stem1"].u.stride() != state.layers["stem1"].u.stride()
    first, second = runtime.step(prepared, state), runtime.step(prepared, other)
    assert same(_known(first), _known(second))


def test_parts_of_a_joint_read_go_on_alone() -> None:
    runtime, eager, recorder = graphed()
    prepared, state = runtime.prepare(pictures(3)), runtime.initial_state(3, SIZE, seed=0)
    joint = runtime.step(prepared, state).state
    part = tree_map(lambda leaf: leaf[1:2], joint)
    found, wanted = (each.step(prepared[1:2], part) for each in (runtime, eager))
    assert same(_known(found), _known(wanted))
    assert recorder.recorded == 2


def test_a_graph_a_batch_size_and_activity_is_recorded_once() -> None:
    runtime, _, recorder = graphed()
    cases = [(1, SIZE, False), (2, SIZE, False), (2, SIZE, True), (1, (64, 96), False)]
    for _ in range(3):
        for batch, size, activity in cases:
            prepared = runtime.prepare(pictures(batch, size))
            result = runtime.step(prepared, runtime.initial_state(batch, size), activity=activity)
            assert (result.activity is not None) == activity
    assert recorder.recorded == len(cases)
    assert recorder.replayed == 3 * len(cases)


def test_the_graph_that_was_used_longest_ago_goes() -> None:
    runtime, eager, recorder = graphed(kept=2)

    def records(batch: int) -> bool:
        before = recorder.recorded
        prepared, state = runtime.prepare(pictures(batch)), runtime.initial_state(batch, SIZE)
        found, wanted = (each.step(prepared, state) for each in (runtime, eager))
        assert same(_known(found), _known(wanted))
        return recorder.recorded > before

    assert [records(batch) for batch in (1, 2, 1, 3, 1, 2, 3)] == [
        *(True, True, False),
        *(True, False),  # 2 has gone, not 1
        *(True, True),
    ]
    assert len(runtime._step._graphs) == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda runtime: runtime.initial_state(2, SIZE), r"\(2, .* where \(1, .* is needed"),
        (lambda runtime: runtime.initial_state(1, (64, 96)), "is needed"),
        (
            lambda runtime: runtime.model.initial_state(1, SIZE, dtype=torch.bfloat16),
            "in torch.bfloat16 on cpu, where .* in torch.float32 on cpu",
        ),
        (lambda runtime: runtime.initial_state(1, SIZE)._replace(readout=()), "tensors, where"),
        (lambda runtime: tree_map(lambda u: u.to("meta"), runtime.initial_state(1, SIZE)), "meta"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(
    wrong: Callable[[TorchRuntime], SPYv4State], message: str
) -> None:
    runtime, _, recorder = graphed(readout="leaky")
    prepared = runtime.prepare(pictures(1))
    with pytest.raises(StateShapeError, match=f"{message}.*start from initial_state"):
        runtime.step(prepared, wrong(runtime))
    assert recorder.replayed == 0
    runtime.step(prepared, runtime.initial_state(1, SIZE))  # goes on


def test_threads_take_turns() -> None:
    runtime, eager, _ = graphed()
    prepared = [runtime.prepare(pictures(1, seed=seed)) for seed in range(3)]
    state = runtime.initial_state(1, SIZE)
    wanted = [eager.step(each, state) for each in prepared]
    wrong: list[object] = []

    def read(index: int) -> None:
        try:
            for _ in range(20):
                found = runtime.step(prepared[index], state)
                assert same(_known(found), _known(wanted[index]))
        except Exception as error:  # noqa: BLE001 - of any kind
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_read_that_cannot_be_recorded_leaves_the_others() -> None:
    class Refusing(Repeater):
        def record(self, work: Work) -> Recorded:
            if self.recorded == 1:
                raise RuntimeUnavailableError("no")
            return super().record(work)

    runtime, _, _ = graphed()
    runtime.use(GraphStep(runtime.model, Refusing()))
    one, two = ((runtime.prepare(pictures(b)), runtime.initial_state(b, SIZE)) for b in (1, 2))
    runtime.step(*one)
    with pytest.raises(RuntimeUnavailableError):
        runtime.step(*two)
    runtime.step(*one)


def test_graphs_are_for_gpus() -> None:
    assert has_graphs(torch.device("cuda:1"))
    assert not has_graphs(CPU)


def test_what_a_graph_reads_besides_its_memory_stays_where_it_is() -> None:
    """Places of sampled neurons are made once a size; were they dropped, graphs would go astray."""
    first = _index_tensors(0, (32, 2, 2), CPU)
    for side in range(1, 300):
        _index_tensors(0, (1, 1, side), CPU)
    again = _index_tensors(0, (32, 2, 2), CPU)
    assert all(one is other for one, other in zip(first, again, strict=True))
