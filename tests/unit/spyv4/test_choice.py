"""The choice of a way follows a measurement."""

import pytest
import torch

from spyv4.runtime import choice
from spyv4.runtime.choice import Choice, enough_threads, precisions, read_time_ms, time_reads
from spyv4.runtime.torch_runtime import TorchRuntime
from spyv4.runtime.ways import Way
from tests.helpers.tiny_model import tiny_model

CPU = torch.device("cpu")
EAGER, HALF = Way("eager", "float32"), Way("eager", "bfloat16")
COMPILED, COMPILED_HALF = Way("compiled", "float32"), Way("compiled", "bfloat16")


@pytest.mark.parametrize(
    ("read_ms", "expected"),
    [
        ({EAGER: 113, HALF: 129}, EAGER),  # a Xeon with avx512_bf16 and without AMX
        ({EAGER: 148, HALF: 58}, HALF),
        ({EAGER: 100, HALF: 96}, EAGER),  # near a tie: the exact one
        ({COMPILED: 96, EAGER: 100}, EAGER),  # or the simple one
        ({EAGER: 100, HALF: 60, COMPILED: 30, COMPILED_HALF: 29}, COMPILED),
        ({}, None),
    ],
)
def test_the_fastest_is_taken_unless_it_wins_next_to_nothing(read_ms, expected) -> None:
    assert Choice(read_ms, complete=True).fastest() == expected


def test_engines_and_precision_can_be_asked_for() -> None:
    measured = Choice({EAGER: 100, HALF: 60, COMPILED: 30, COMPILED_HALF: 20}, complete=True)
    assert measured.fastest(("eager",)) == HALF
    assert measured.fastest(("compiled",), "float32") == COMPILED
    assert measured.fastest(precision="int8") is None


def test_a_choice_survives_json() -> None:
    measured = Choice({EAGER: 1.5, COMPILED_HALF: 0.25}, complete=True, threads=3)
    assert Choice.from_mapping(measured.to_mapping()) == measured
    for damaged in ({}, {"read_ms": 3, "complete": True}, {"read_ms": {"eager": 1}, "complete": 1}):
        with pytest.raises(ValueError, match="not a choice"):
            Choice.from_mapping(damaged)


def test_the_best_of_some_rounds_counts_and_the_first_does_not(monkeypatch) -> None:
    """One slow read, as a busy machine has them, changes nothing."""
    times = {EAGER: iter([0, 9, 5, 9]), HALF: iter([0, 9, 9, 7])}
    runtimes = {way: TorchRuntime(tiny_model(), CPU) for way in times}
    way_of = {id(runtime): way for way, runtime in runtimes.items()}
    monkeypatch.setattr(choice, "read_time_ms", lambda runtime, _: next(times[way_of[id(runtime)]]))
    assert time_reads(runtimes, (64, 64), budget_s=0) == {EAGER: 5, HALF: 7}


def test_a_read_takes_time() -> None:
    assert read_time_ms(TorchRuntime(tiny_model(), CPU), (64, 64)) > 0


def test_only_what_the_processor_has_is_measured(monkeypatch) -> None:
    monkeypatch.setattr(choice, "has_bfloat16", lambda _: False)
    monkeypatch.setattr(choice, "has_fast_int8", lambda: True)
    assert precisions(CPU, int8=True) == ("float32", "int8")
    assert precisions(CPU, int8=False) == ("float32",)
    monkeypatch.setattr(choice, "has_bfloat16", lambda _: True)
    monkeypatch.setattr(choice, "has_fast_int8", lambda: False)
    assert precisions(CPU, int8=True) == ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("taken_ms", "enough"),
    [
        ({8: 3, 4: 5, 2: 9, 1: 17}, 8),
        ({8: 9, 4: 5, 2: 5.1, 1: 9}, 2),  # about as fast with fewer
        ({8: 9, 4: 7, 2: 6, 1: 5}, 1),
    ],
)
def test_no_more_threads_are_taken_than_are_of_use(monkeypatch, taken_ms, enough) -> None:
    monkeypatch.setattr(choice, "most_threads", lambda: 8)
    before = now = torch.get_num_threads()

    def settle(threads: int) -> None:
        nonlocal now
        now = threads

    monkeypatch.setattr(torch, "set_num_threads", settle)
    monkeypatch.setattr(choice, "read_time_ms", lambda *_: taken_ms[now])
    assert enough_threads(TorchRuntime(tiny_model(), CPU), (64, 64), budget_s=0) == enough
    assert now == before


def test_one_lucky_read_does_not_settle_the_threads(monkeypatch) -> None:
    """A core that others share is at times twice as fast."""
    lucky = iter([9, 3, 9, 9])
    monkeypatch.setattr(choice, "most_threads", lambda: 2)
    now = 0

    def settle(threads: int) -> None:
        nonlocal now
        now = threads

    monkeypatch.setattr(torch, "set_num_threads", settle)
    monkeypatch.setattr(choice, "MIN_ROUNDS", 3)
    times: list[float] = []
    monkeypatch.setattr(
        choice,
        "read_time_ms",
        lambda *_: times.pop() if times else _pair(times, 5.0 if now == 2 else next(lucky)),
    )
    assert enough_threads(TorchRuntime(tiny_model(), CPU), (64, 64), budget_s=0) == 2


def _pair(times: list[float], taken_ms: float) -> float:
    """The read that wakes the threads; the one that counts is as long."""
    times.append(taken_ms)
    return taken_ms
