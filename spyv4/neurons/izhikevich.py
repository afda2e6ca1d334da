"""The simple model of Izhikevich, whose potential is in millivolts."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.neurons.base import Mixing, Neuron
from spyv4.neurons.surrogate import spike_from_rest
from spyv4.validation import require

CURRENT_GAIN = 10.0
"""Current I of the model for an input current of 1; regularly spiking cells fire from 3.8 on."""
PEAK_MV = 30.0
FLOOR_MV = -100.0
"""Potentials are held above it: below -112.5 mV the half steps of the square swing up and away."""
BOTTOM_MV = -62.5
"""Where 0.04 u^2 + 5 u + 140 is least: the membrane leaks below, and fires by itself above."""
HALF_MS = 0.5
START_SPREAD_MV = 5.0


class Cell(NamedTuple):
    """What kind of cell it is.

    Attributes:
        a: rate of the recovery variable, 1/ms.
        b: its sensitivity to the potential, 1/ms.
        c: potential after a spike, mV.
        d: what a spike adds to the recovery variable, mV/ms.
    """

    a: float
    b: float
    c: float
    d: float

    @property
    def rest_mv(self) -> float:
        """Where the cell rests without current: the lower zero of 0.04 u^2 + (5 - b) u + 140.

        Raises:
            ConfigError: if there is none, since the cell fires by itself.
        """
        slope = 5.0 - self.b
        square = slope * slope - 4 * 0.04 * 140.0
        require(square >= 0, f"b of a cell must be at most 0.267, or it never rests, not {self.b}")
        return (-slope - math.sqrt(square)) / (2 * 0.04)


REGULAR_SPIKING = Cell(0.02, 0.2, -65.0, 8.0)
FAST_SPIKING = Cell(0.1, 0.2, -65.0, 2.0)
CHATTERING = Cell(0.02, 0.2, -50.0, 2.0)


class IzhikevichState(NamedTuple):
    """State of a layer of Izhikevich neurons.

    Attributes:
        u: membrane potential after the last step, mV, [B, C, H, W] or [B, N]; the model's v.
        recovery: mV/ms, same shape; the model's u.
    """

    u: Tensor
    recovery: Tensor


def izhikevich_step(
    current: Tensor, state: IzhikevichState, config: NeuronConfig, cell: Cell = REGULAR_SPIKING
) -> tuple[Tensor, IzhikevichState]:
    """One millisecond of Izhikevich neurons; r is their recovery variable.

        I   = 10 c_t
        f(u) = max(u + 0.5 (0.04 u^2 + 5 u + 140 - r_{t-1} + I), -100)     half a millisecond
        u'  = f(u_{t-1}) if that is above 30, else f(f(u_{t-1}))
        r'  = r_{t-1} + a (b min(u', 30) - r_{t-1})
        s_t = 1 if u' > 30 else 0
        u_t = c if s_t else u';  r_t = r' + d s_t

    Source: Izhikevich 2003, Simple model of spiking neurons, equations 1 to 3, in the two half
    steps of the potential and one of the recovery variable of its program. That program integrates
    on beyond the peak of 30 mV before it resets; here the peak ends the spike, as in the equations,
    or the overshoot would add to the recovery variable as d does. The floor does nothing unless a
    current inhibits more strongly than real ones.

    Args:
        current: input current c_t, dimensionless, any shape.
        state: after the step before.
        config: surrogate.
        cell: a, b, c and d.

    Returns:
        Spikes in {0, 1}, of the shape of `current`, and the new state. Gradient flows through the
        reset, and takes the parabola as level above its bottom at -62.5 mV: the upstroke is the
        spike, which the surrogate stands for, and would multiply the gradient at every spike.
    """
    drive = CURRENT_GAIN * current - state.recovery
    half = _half_step(state.u, drive)
    u = torch.where(half > PEAK_MV, half, _half_step(half, drive))
    recovery = state.recovery + cell.a * (cell.b * torch.clamp(u, max=PEAK_MV) - state.recovery)
    spikes = spike_from_rest(u, cell.rest_mv, PEAK_MV, config)
    after = (1 - spikes) * u + spikes * cell.c
    return spikes, IzhikevichState(after, recovery + cell.d * spikes)


def _half_step(u: Tensor, drive: Tensor) -> Tensor:
    """The potential half a millisecond later."""
    parabola = (0.04 * u + 5.0) * u + 140.0
    parabola = torch.where(u > BOTTOM_MV, parabola.detach(), parabola)
    return torch.clamp(u + HALF_MS * (parabola + drive), min=FLOOR_MV)


class Izhikevich(Neuron):
    """Izhikevich neurons: `izhikevich_step`; nothing of them is learned.

    Args:
        size: channels of a convolutional layer, neurons of a dense one.
        config: surrogate.
        mixing: whether the layer is convolutional or dense.
        cell: a, b, c and d of all of them.
    """

    state_type = IzhikevichState

    def __init__(
        self, size: int, config: NeuronConfig, mixing: Mixing, cell: Cell = REGULAR_SPIKING
    ) -> None:
        super().__init__(size, config, mixing)
        self.cell = cell
        rest = cell.rest_mv
        self.start_range = (rest - START_SPREAD_MV, rest + START_SPREAD_MV)

    def resting(self) -> tuple[float, ...]:
        """Potential and recovery variable at rest, mV and mV/ms."""
        return self.cell.rest_mv, self.cell.b * self.cell.rest_mv

    def potential(self, state: IzhikevichState) -> Tensor:
        """The potential, 0 at rest and 1 at the peak."""
        return (state.u - self.cell.rest_mv) / (PEAK_MV - self.cell.rest_mv)

    def read(self, current: Tensor, state: IzhikevichState) -> tuple[Tensor, IzhikevichState]:
        """One step; see `izhikevich_step`."""
        return izhikevich_step(current, state, self.config, self.cell)
