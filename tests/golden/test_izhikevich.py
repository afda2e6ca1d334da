"""Izhikevich neurons against steps worked out by hand, the continuous model, and known patterns."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.errors import ConfigError
from spyv4.neurons.izhikevich import (
    CHATTERING,
    CURRENT_GAIN,
    FAST_SPIKING,
    REGULAR_SPIKING,
    Cell,
    IzhikevichState,
    izhikevich_step,
)

NEURON = NeuronConfig(kind="izhikevich")


def cell(value: float) -> Tensor:
    return torch.full((1, 1), value, dtype=torch.float64)


def one_step(current: float, u: float, recovery: float) -> tuple[float, float, float]:
    state = IzhikevichState(cell(u), cell(recovery))
    spikes, state = izhikevich_step(cell(current), state, NEURON)
    return spikes.item(), state.u.item(), state.recovery.item()


def spike_times(kind: Cell, drive: float, steps: int) -> list[int]:
    """Milliseconds at which a resting cell spikes under a constant current of `drive`."""
    state = IzhikevichState(cell(kind.rest_mv), cell(kind.b * kind.rest_mv))
    current = cell(drive / CURRENT_GAIN)
    found = []
    with torch.no_grad():
        for t in range(steps):
            spikes, state = izhikevich_step(current, state, NEURON, kind)
            if spikes.item():
                found.append(t)
    return found


def test_a_step_below_the_peak_is_the_one_worked_out_by_hand() -> None:
    """From rest under c = 1, which is I = 10: the drive I - r is 24.

    f(-70) = -70 + 0.5 (196 - 350 + 140 + 24) = -65; f(-65) = -65 + 0.5 (169 - 325 + 140 + 24) = -61
    r' = -14 + 0.02 (0.2 * -61 + 14) = -13.964
    """
    assert one_step(1.0, -70.0, -14.0) == pytest.approx((0, -61.0, -13.964))


def test_a_spike_is_the_one_worked_out_by_hand() -> None:
    """f(20) = 20 + 0.5 (16 + 100 + 140) = 148, held at 30; f(30) = 30 + 0.5 (36 + 150 + 140) = 193.

    r' = 0 + 0.02 (0.2 * 30 - 0) = 0.12; then u = -65 and r = 8.12.
    """
    assert one_step(0.0, 20.0, 0.0) == pytest.approx((1, -65.0, 8.12))


def test_strong_inhibition_ends_at_the_floor() -> None:
    """I = -1000 at -70, r = -14: f = -70 + 0.5 (-14 - 986) = -570, held at -100, and again.

    From there it comes back: f(-100) = -100 + 0.5 * 40 = -80, f(-80) = -80 - 0.5 * 4 = -82.
    """
    assert one_step(-100.0, -70.0, -14.0) == pytest.approx((0, -100.0, -14 + 0.02 * (-20 + 14)))
    assert one_step(0.0, -100.0, 0.0)[1] == pytest.approx(-82.0)


@pytest.mark.parametrize("kind", [REGULAR_SPIKING, FAST_SPIKING, CHATTERING])
def test_rest_is_where_nothing_moves(kind: Cell) -> None:
    assert kind.rest_mv == pytest.approx(-70.0)
    assert spike_times(kind, 0.0, 200) == []
    state = IzhikevichState(cell(kind.rest_mv), cell(kind.b * kind.rest_mv))
    for _ in range(200):
        _, state = izhikevich_step(cell(0.0), state, NEURON, kind)
    assert state.u.item() == pytest.approx(-70.0)
    assert state.recovery.item() == pytest.approx(-14.0)


def test_a_cell_that_never_rests_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"b of a cell must be at most 0\.267"):
        _ = Cell(0.02, 0.3, -65.0, 8.0).rest_mv


def test_regular_spiking_adapts() -> None:
    gaps = np.diff(spike_times(REGULAR_SPIKING, 10.0, 1000))
    assert gaps[-1] > 1.5 * gaps[0]
    assert np.ptp(gaps[-4:]) <= 1  # and settles


def test_fast_spiking_is_fast_and_does_not_adapt() -> None:
    gaps = np.diff(spike_times(FAST_SPIKING, 10.0, 1000))
    assert np.median(gaps) < 0.5 * np.median(np.diff(spike_times(REGULAR_SPIKING, 10.0, 1000)))
    assert np.ptp(gaps[1:]) <= 2


def test_chattering_fires_in_bursts() -> None:
    """Gaps are short within a burst and long between bursts, and nothing in the middle."""
    gaps = np.diff(spike_times(CHATTERING, 10.0, 1000))
    short, long = gaps[gaps <= 6], gaps[gaps >= 15]
    assert len(short) + len(long) == len(gaps)
    assert len(long) >= 5
    assert len(short) >= 2 * len(long)


def exact_times(drive: float, end_ms: float) -> Sequence[float]:
    """Spikes of the continuous model of a regularly spiking cell, from rest."""

    def slopes(_: float, y: np.ndarray) -> list[float]:
        u, r = y
        return [0.04 * u * u + 5 * u + 140 - r + drive, 0.02 * (0.2 * u - r)]

    def peak(_: float, y: np.ndarray) -> float:
        return float(y[0] - 30.0)

    peak.terminal = True  # type: ignore[attr-defined]
    peak.direction = 1  # type: ignore[attr-defined]
    now, y, found = 0.0, [-70.0, -14.0], []
    while True:
        part = solve_ivp(slopes, (now, end_ms), y, events=peak, rtol=1e-8, atol=1e-8)
        if part.status != 1:
            return found
        now = part.t[-1]
        found.append(now)
        y = [-65.0, part.y[1, -1] + 8.0]


@pytest.mark.parametrize("drive", [6.0, 10.0, 20.0])
def test_the_rate_is_near_that_of_the_continuous_model(drive: float) -> None:
    """Half steps of a millisecond are coarse, yet the number of spikes is within a tenth."""
    exact = exact_times(drive, 1000.0)
    mine = spike_times(REGULAR_SPIKING, drive, 1000)
    assert len(mine) == pytest.approx(len(exact), rel=0.1)
