"""The choice of a way: measured, since a processor's flags do not tell.

A Xeon with `avx512_bf16` but without AMX convolves bfloat16 more slowly than float32; a Zen 4 with
the same flag twice as fast.
"""

import operator
import statistics
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import torch

from spyv4.choices import Exact
from spyv4.runtime.base import Runtime
from spyv4.runtime.int8 import has_fast_int8
from spyv4.runtime.torch_runtime import has_bfloat16
from spyv4.runtime.ways import Engine, Way
from spyv4.threads import most_threads

MIN_ROUNDS, BUDGET_S = 3, 2.0
CLEAR_GAIN = 0.95
"""A way must take at most this share of a more exact or simpler one's time to be worth it."""


def precisions(device: torch.device, *, int8: bool) -> tuple[Exact, ...]:
    """Those that a device has instructions for, the most exact first.

    Args:
        device: where the network runs.
        int8: whether 8 bits are allowed, that is, whether it is known what they cost.
    """
    found: list[Exact] = ["float32"]
    if has_bfloat16(device):
        found.append("bfloat16")
    if int8 and device.type == "cpu" and has_fast_int8():
        found.append("int8")
    return tuple(found)


class Choice(NamedTuple):
    """What was measured on a machine.

    Attributes:
        read_ms: of every way that was timed, milliseconds of one read of one picture.
        complete: whether the compiled ways, which have to be built first, are among them.
        threads: the fewest that the fastest way is about as fast with as with any number.
    """

    read_ms: Mapping[Way, float]
    complete: bool
    threads: int = 1

    def fastest(
        self, engines: tuple[Engine, ...] = get_args(Engine), precision: Exact | None = None
    ) -> Way | None:
        """The fastest of the ways of some engines and of a precision, or of any; None for none.

        Among ways that take nearly the same time the most exact, then the simplest, is taken.
        """
        order = get_args(Exact), get_args(Engine)
        fit = [w for w in self.read_ms if w.engine in engines and precision in (None, w.precision)]
        best: Way | None = None
        for way in sorted(fit, key=lambda w: (order[0].index(w[1]), order[1].index(w[0]))):
            if best is None or self.read_ms[way] < CLEAR_GAIN * self.read_ms[best]:
                best = way
        return best

    def to_mapping(self) -> dict[str, Any]:
        """For JSON."""
        times = {str(way): round(ms, 3) for way, ms in self.read_ms.items()}
        return {"read_ms": times, "complete": self.complete, "threads": self.threads}

    @classmethod
    def from_mapping(cls, facts: Mapping[str, Any]) -> "Choice":
        """From what `to_mapping` gave.

        Raises:
            ValueError: if it is nothing of that kind.
        """
        try:
            times = {Way(*name.split()): float(ms) for name, ms in facts["read_ms"].items()}
            return cls(times, bool(facts["complete"]), int(facts["threads"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a choice: {error}") from error


def choose(
    runtimes: Mapping[Way, Runtime],
    image_size: tuple[int, int],
    device: torch.device,
    *,
    complete: bool,
    budget_s: float = BUDGET_S,
) -> Choice:
    """Time ways, and on a CPU how many threads the fastest needs.

    Args:
        runtimes: by way, at least one.
        image_size: (height, width) in pixels.
        device: where they run.
        complete: whether the compiled ways are among them.
        budget_s: of each of the two measurements; see `time_reads`.
    """
    choice = Choice(time_reads(runtimes, image_size, budget_s=budget_s), complete)
    way = choice.fastest()
    if way is None or device.type != "cpu":
        return choice
    enough = enough_threads(runtimes[way], image_size, budget_s=budget_s)
    return choice._replace(threads=enough)


def time_reads(
    runtimes: Mapping[Way, Runtime], image_size: tuple[int, int], *, budget_s: float = BUDGET_S
) -> dict[Way, float]:
    """Milliseconds of one read of one grey picture, the best of several rounds in turns.

    The best, since noise only ever adds.

    Args:
        runtimes: by way.
        image_size: (height, width) in pixels.
        budget_s: ends the rounds, of which there are three at least, and one before them that
            prepares memory and kernels.
    """
    best = dict.fromkeys(runtimes, float("inf"))
    started = time.perf_counter()
    for number in range(1_000_000):
        for way, runtime in runtimes.items():
            taken_ms = read_time_ms(runtime, image_size)
            if number > 0:
                best[way] = min(best[way], taken_ms)
        if number >= MIN_ROUNDS and time.perf_counter() - started > budget_s:
            break
    return best


def enough_threads(
    runtime: Runtime, image_size: tuple[int, int], *, budget_s: float = BUDGET_S
) -> int:
    """The fewest threads with which a read takes about as long as with any number.

    Waking a thread that sleeps may take longer than what it does in a small network, and two
    virtual cores may be one; the threads that are not used are somebody else's.

    Args:
        runtime: on the CPU.
        image_size: (height, width) in pixels.
        budget_s: as for `time_reads`.
    """
    most = most_threads()
    times: dict[int, list[float]] = {most >> n: [] for n in range(most.bit_length())}
    started, before = time.perf_counter(), torch.get_num_threads()
    try:
        for number in range(1_000_000):
            for threads, taken_ms in times.items():
                torch.set_num_threads(threads)
                read_time_ms(runtime, image_size)  # wakes what slept
                taken_ms.append(read_time_ms(runtime, image_size))
            if number >= MIN_ROUNDS and time.perf_counter() - started > budget_s:
                break
    finally:
        torch.set_num_threads(before)
    # In pairs, since a core that others share is at times half as fast; its best says nothing.
    typical = {
        threads: statistics.median(map(operator.truediv, taken_ms, times[most]))
        for threads, taken_ms in times.items()
    }
    limit = min(typical.values()) / CLEAR_GAIN
    return min(threads for threads, ratio in typical.items() if ratio <= limit)


def read_time_ms(runtime: Runtime, image_size: tuple[int, int]) -> float:
    """Milliseconds of one read of one grey picture from rest."""
    prepared = runtime.prepare(torch.full((1, 3, *image_size), 0.5))
    state = runtime.initial_state(1, image_size)
    if prepared.is_cuda:
        torch.cuda.synchronize(prepared.device)
    started = time.perf_counter()
    runtime.step(prepared, state)
    if prepared.is_cuda:
        torch.cuda.synchronize(prepared.device)
    return 1000 * (time.perf_counter() - started)
