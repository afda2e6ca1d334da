"""The Hodgkin-Huxley model of the squid's giant axon, in physical units."""

from typing import NamedTuple

import torch
from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.neurons.base import Neuron
from spyv4.neurons.surrogate import spike_from_rest

CURRENT_GAIN = 10.0
"""Current density in uA/cm2 for an input current of 1; the axon fires steadily from 6.3 on."""
CAPACITANCE = 1.0
"""uF/cm2."""
SODIUM, POTASSIUM, LEAK = 120.0, 36.0, 0.3
"""Largest conductances, mS/cm2."""
SODIUM_MV, POTASSIUM_MV, LEAK_MV = 50.0, -77.0, -54.387
"""Reversal potentials, for an axon that rests at -65 mV."""
REST_MV = -65.0
THRESHOLD_MV = 0.0
"""Of the upward crossing that counts as a spike."""
UPSTROKE_MV = -55.0
"""About where a kick makes the resting axon fire."""
STEP_MS = 1.0
SUBSTEPS = 10
RATES_MV = 200.0
"""Rates change no more beyond this, either way: their exponentials would overflow."""
START_SPREAD_MV = 5.0


class HodgkinHuxleyState(NamedTuple):
    """State of a layer of Hodgkin-Huxley neurons.

    Attributes:
        u: membrane potential after the last step, mV, [B, C, H, W] or [B, N].
        m: activation of the sodium channels, in [0, 1], same shape.
        h: their inactivation, in [0, 1], 1 for none, same shape.
        n: activation of the potassium channels, in [0, 1], same shape.
    """

    u: Tensor
    m: Tensor
    h: Tensor
    n: Tensor


class Rates(NamedTuple):
    """How fast a kind of gate opens and shuts, 1/ms.

    Attributes:
        opening: alpha.
        shutting: beta.
    """

    opening: Tensor
    shutting: Tensor

    @property
    def steady(self) -> Tensor:
        """Share of open gates that the potential would lead to, in [0, 1]."""
        return self.opening / (self.opening + self.shutting)


def gate_rates(u: Tensor) -> tuple[Rates, Rates, Rates]:
    """Rates of the gates m, h and n at potential u, 1/ms.

        m: 0.1 (u + 40) / (1 - exp(-(u + 40) / 10)),   4 exp(-(u + 65) / 18)
        h: 0.07 exp(-(u + 65) / 20),                   1 / (1 + exp(-(u + 35) / 10))
        n: 0.01 (u + 55) / (1 - exp(-(u + 55) / 10)),  0.125 exp(-(u + 65) / 80)

    Args:
        u: potential in mV, any shape.
    """
    u = torch.clamp(u, -RATES_MV, RATES_MV)
    above = u + 65.0
    m = Rates(_ratio(0.1 * (u + 40.0)), 4.0 * torch.exp(above * (-1 / 18)))
    h = Rates(0.07 * torch.exp(above * (-1 / 20)), torch.sigmoid(0.1 * (u + 35.0)))
    n = Rates(0.1 * _ratio(0.1 * (u + 55.0)), 0.125 * torch.exp(above * (-1 / 80)))
    return m, h, n


def _ratio(x: Tensor) -> Tensor:
    """Quotient x / (1 - exp(-x)), with value 1 and slope 1/2 at 0.

    Near 0 by its series: the quotient is 0/0 there, and close by its gradient loses all digits.
    """
    near = x.abs() < 0.01
    away = torch.where(near, torch.ones_like(x), x)
    square = x * x
    series = 1 + 0.5 * x + square * (1 / 12 - square * (1 / 720))
    return torch.where(near, series, away / -torch.expm1(-away))


def advance(drive: Tensor, state: HodgkinHuxleyState, step_ms: float) -> HodgkinHuxleyState:
    """The membrane `step_ms` later, by exponential Euler: gates first, then the potential.

        x <- x_inf(u) + (x - x_inf(u)) exp(-step (alpha + beta))               for m, h and n
        g <- 120 m^3 h + 36 n^4 + 0.3;  u_inf = (sum of g E, and I) / g
        u <- u_inf + (u - u_inf) exp(-step g / C)

    Each is exact where the other stands still, so that no step is too long to be stable. Since the
    gates are half a step ahead of the potential, the error falls with the square of the step.

    Args:
        drive: current density I, uA/cm2, any shape.
        state: of the same shape.
        step_ms: > 0.
    """
    rates = gate_rates(torch.where(state.u > UPSTROKE_MV, state.u.detach(), state.u))
    gates = zip(state[1:], rates, strict=True)
    m, h, n = (_settled(gate, gate_rate, step_ms) for gate, gate_rate in gates)
    sodium = SODIUM * m * m * m * h
    potassium = POTASSIUM * (n * n) * (n * n)
    total = sodium + potassium + LEAK
    pull = sodium * SODIUM_MV + potassium * POTASSIUM_MV + LEAK * LEAK_MV + drive
    steady = pull / total
    u = steady + (state.u - steady) * torch.exp((-step_ms / CAPACITANCE) * total)
    return HodgkinHuxleyState(u, m, h, n)


def _settled(gate: Tensor, rates: Rates, step_ms: float) -> Tensor:
    """Share of open gates `step_ms` later."""
    steady = rates.steady
    return steady + (gate - steady) * torch.exp(-step_ms * (rates.opening + rates.shutting))


def hodgkin_huxley_step(
    current: Tensor, state: HodgkinHuxleyState, config: NeuronConfig
) -> tuple[Tensor, HodgkinHuxleyState]:
    """One millisecond of Hodgkin-Huxley neurons, in ten steps of 0.1 ms (see `advance`).

        C du/dt = 10 c_t - 120 m^3 h (u - 50) - 36 n^4 (u + 77) - 0.3 (u + 54.387)
        dx/dt   = alpha_x(u) (1 - x) - beta_x(u) x                             for m, h and n
        s_t     = 1 if u_{t-1} <= 0 and u rises above 0 within the step, else 0

    There is no reset: channels repolarise the membrane. u in mV, time in ms, currents in uA/cm2,
    C = 1 uF/cm2. Source: Hodgkin and Huxley 1952, A quantitative description of membrane current
    and its application to conduction and excitation in nerve, equations 7 to 26 and table 3 (at
    6.3 degrees), with the sign of today and rest at -65 mV.

    Args:
        current: input current c_t, dimensionless, any shape.
        state: after the step before.
        config: surrogate.

    Returns:
        Spikes in {0, 1}, of the shape of `current`, and the new state. The surrogate is that of the
        highest potential within the step.
    """
    drive = CURRENT_GAIN * current
    below = (state.u <= THRESHOLD_MV).to(current.dtype)
    state = advance(drive, state, STEP_MS / SUBSTEPS)
    highest = state.u
    for _ in range(SUBSTEPS - 1):
        state = advance(drive, state, STEP_MS / SUBSTEPS)
        highest = torch.maximum(highest, state.u)
    return below * spike_from_rest(highest, REST_MV, THRESHOLD_MV, config), state


class HodgkinHuxley(Neuron):
    """Hodgkin-Huxley neurons: `hodgkin_huxley_step`; nothing of them is learned."""

    state_type = HodgkinHuxleyState
    start_range = (REST_MV - START_SPREAD_MV, REST_MV + START_SPREAD_MV)

    def resting(self) -> tuple[float, ...]:
        """Potential in mV, and gates, at rest."""
        gates = gate_rates(torch.tensor(REST_MV, dtype=torch.float64))
        return REST_MV, *(float(rates.steady) for rates in gates)

    def potential(self, state: HodgkinHuxleyState) -> Tensor:
        """The potential, 0 at rest and 1 where it counts as a spike."""
        return (state.u - REST_MV) / (THRESHOLD_MV - REST_MV)

    def read(self, current: Tensor, state: HodgkinHuxleyState) -> tuple[Tensor, HodgkinHuxleyState]:
        """One step; see `hodgkin_huxley_step`."""
        return hodgkin_huxley_step(current, state, self.config)
