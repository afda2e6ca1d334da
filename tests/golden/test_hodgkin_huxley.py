"""Hodgkin-Huxley neurons against scipy's solution of the differential equations."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.neurons import build_neuron
from spyv4.neurons.hodgkin_huxley import (
    CURRENT_GAIN,
    STEP_MS,
    SUBSTEPS,
    HodgkinHuxleyState,
    advance,
    gate_rates,
    hodgkin_huxley_step,
)

NEURON = NeuronConfig(kind="hodgkin-huxley")
DRIVES = (5.0, 7.0, 10.0, 20.0, 40.0)
END_MS = 100


def rest() -> HodgkinHuxleyState:
    like = torch.zeros((), dtype=torch.float64)
    state: HodgkinHuxleyState = build_neuron(1, NEURON, "dense").initial_state((1, 1), like=like)
    return state


def slopes(drive: float, y: np.ndarray) -> list[float]:
    """The textbook's equations, written down plainly."""
    u, m, h, n = y

    def x_over(x: float) -> float:
        return 1.0 if x == 0 else x / (1 - math.exp(-x))

    am, bm = x_over((u + 40) / 10), 4 * math.exp(-(u + 65) / 18)
    ah, bh = 0.07 * math.exp(-(u + 65) / 20), 1 / (1 + math.exp(-(u + 35) / 10))
    an, bn = 0.1 * x_over((u + 55) / 10), 0.125 * math.exp(-(u + 65) / 80)
    current = 120 * m**3 * h * (u - 50) + 36 * n**4 * (u + 77) + 0.3 * (u + 54.387)
    return [drive - current, am * (1 - m) - bm * m, ah * (1 - h) - bh * h, an * (1 - n) - bn * n]


@cache
def exact_times(drive: float, end_ms: float = END_MS) -> tuple[float, ...]:
    """Upward crossings of 0 mV, ms, from rest under a constant current."""

    def crossing(_: float, y: np.ndarray) -> float:
        return float(y[0])

    crossing.direction = 1  # type: ignore[attr-defined]
    start = [variable.item() for variable in rest()]
    found = solve_ivp(
        lambda _, y: slopes(drive, y),
        (0, end_ms),
        start,
        method="LSODA",
        events=crossing,
        rtol=1e-9,
        atol=1e-9,
    )
    return tuple(found.t_events[0])


def steps_with_spikes(drive: float, steps: int = END_MS) -> list[int]:
    state, current, found = rest(), torch.full((1, 1), drive / CURRENT_GAIN).double(), []
    with torch.no_grad():
        for t in range(steps):
            spikes, state = hodgkin_huxley_step(current, state, NEURON)
            if spikes.item():
                found.append(t)
    return found


def crossings(drive: float, step_ms: float) -> list[float]:
    """Upward crossings of 0 mV by `advance`, ms, between its steps on a straight line."""
    state, current, found = rest(), torch.full((1, 1), drive).double(), []
    with torch.no_grad():
        for index in range(round(END_MS / step_ms)):
            before = state.u.item()
            state = advance(current, state, step_ms)
            after = state.u.item()
            if before <= 0 < after:
                found.append((index - before / (after - before)) * step_ms)
    return found


@pytest.mark.parametrize("drive", DRIVES)
def test_spikes_are_those_of_the_differential_equations(drive: float) -> None:
    """As many, each within 0.04 ms or 1 % of the time since the start."""
    exact = exact_times(drive)
    mine = crossings(drive, STEP_MS / SUBSTEPS)
    assert len(mine) == len(exact)
    assert mine == pytest.approx(exact, rel=1e-2, abs=0.04)


def test_the_error_falls_with_the_square_of_the_step() -> None:
    errors = [abs(crossings(10.0, step)[-1] - exact_times(10.0)[-1]) for step in (0.1, 0.05)]
    assert errors[1] < 0.35 * errors[0]


@pytest.mark.parametrize("drive", DRIVES)
def test_every_spike_is_told_once_in_its_millisecond(drive: float) -> None:
    times = crossings(drive, STEP_MS / SUBSTEPS)
    assert steps_with_spikes(drive) == [math.floor(time) for time in times]


def test_the_onset_of_steady_firing_is_that_of_the_differential_equations() -> None:
    """From rest, the least current under which spikes do not die out within 200 ms."""

    def onset(count_spikes: object) -> float:
        low, high = 5.0, 8.0
        while high - low > 0.1:
            drive = (low + high) / 2
            fires = count_spikes(drive) > 8  # type: ignore[operator]
            low, high = (low, drive) if fires else (drive, high)
        return high

    exact = onset(lambda drive: len(exact_times(drive, 200)))
    mine = onset(lambda drive: len(steps_with_spikes(drive, 200)))
    assert exact == pytest.approx(6.25, abs=0.15)
    assert mine == pytest.approx(exact, abs=0.1)


def test_without_current_the_axon_rests() -> None:
    state = rest()
    for _ in range(200):
        state = advance(torch.zeros(1, 1).double(), state, 1.0)
    torch.testing.assert_close(state, rest(), atol=0.005, rtol=0)
    assert rest().u.item() == -65.0
    gates = [gate.item() for gate in rest()[1:]]
    assert gates == pytest.approx([0.0529, 0.5961, 0.3177], abs=1e-4)


@pytest.mark.parametrize("place", [-40.0, -55.0])
def test_rates_are_whole_where_their_quotients_are_not(place: float) -> None:
    """Value, slope and curvature at 0/0 are the limits, and their neighbourhood is smooth."""
    gate = 0 if place == -40.0 else 2
    scale = 1.0 if gate == 0 else 0.1
    offsets = torch.tensor([-0.2, -0.1001, -0.0999, -1e-6, 0.0, 1e-6, 0.0999, 0.1001, 0.2])
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-5)):
        u = (place + offsets.to(dtype)).requires_grad_()
        alpha = gate_rates(u)[gate].opening
        (slope,) = torch.autograd.grad(alpha.sum(), u)
        x = (u.detach().double() - place) / 10
        value = 1 + x / 2 + x**2 / 12 - x**4 / 720
        gradient = (0.5 + x / 6 - x**3 / 180) / 10
        torch.testing.assert_close(alpha.double(), scale * value, atol=tolerance, rtol=0)
        torch.testing.assert_close(slope.double(), scale * gradient, atol=tolerance, rtol=0)
    exactly = torch.tensor([place], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: gate_rates(u)[gate].opening, (exactly,))


@pytest.mark.parametrize("current", [-1e6, -100.0, 100.0, 1e6])
def test_no_current_is_too_strong(current: float) -> None:
    drive = torch.full((1, 1), current, requires_grad=True)
    state: HodgkinHuxleyState = build_neuron(1, NEURON, "dense").initial_state((1, 1), like=drive)
    for _ in range(50):
        spikes, state = hodgkin_huxley_step(drive, state, NEURON)
    total: Tensor = sum((variable.sum() for variable in state), spikes.sum())
    (gradient,) = torch.autograd.grad(total, drive)
    assert torch.isfinite(total)
    assert torch.isfinite(gradient).all()
    assert all(((gate >= 0) & (gate <= 1)).all() for gate in state[1:])
