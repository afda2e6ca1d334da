"""The LTC neuron with an adaptive threshold (paper equation 8)."""

from typing import NamedTuple

from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.neurons.base import Mixing, Neuron, Rate
from spyv4.neurons.surrogate import spike

THRESHOLD_FLOOR, THRESHOLD_SPAN = 0.1, 1.8


class AdaptiveLTCState(NamedTuple):
    """State of a layer of adaptive LTC neurons.

    Attributes:
        u: membrane potential after the last read, [B, C, H, W] or [B, N].
        b: running average of the spikes, in [0, 1], same shape.
        spikes: spikes of the last read, same shape.
    """

    u: Tensor
    b: Tensor
    spikes: Tensor


def adaptive_ltc_step(
    current: Tensor,
    update_rate: Tensor,
    adaptation_rate: Tensor,
    state: AdaptiveLTCState,
    config: NeuronConfig,
) -> tuple[Tensor, AdaptiveLTCState]:
    """One read of LTC neurons whose threshold rises with their own spikes, given their rates.

        b_t     = rho_t b_{t-1} + (1 - rho_t) s_{t-1}
        theta_t = theta (0.1 + 1.8 b_t)
        u'_t    = u_{t-1} + kappa_t (c_t - u_{t-1})
        s_t     = 1 if u'_t > theta_t else 0
        u_t     = (1 - s_t) u'_t

    Args:
        current: input current c_t, any shape.
        update_rate: kappa_t in (0, 1), same shape.
        adaptation_rate: rho_t in (0, 1), same shape.
        state: state after the read before.
        config: threshold and surrogate.

    Returns:
        Spikes in {0, 1}, of the shape of `current`, and the new state.
    """
    b = adaptation_rate * state.b + (1 - adaptation_rate) * state.spikes
    threshold = config.threshold * (THRESHOLD_FLOOR + THRESHOLD_SPAN * b)
    u = state.u + update_rate * (current - state.u)
    spikes = spike(u, threshold, config)
    return spikes, AdaptiveLTCState((1 - spikes) * u, b, spikes)


class AdaptiveLTC(Neuron):
    """Adaptive LTC neurons: `adaptive_ltc_step` with two rates (see `Rate`).

    kappa_t = sigmoid(mix(c_t, u_{t-1})),  rho_t = sigmoid(mix'(c_t, b_{t-1})).
    """

    state_type = AdaptiveLTCState

    def __init__(self, size: int, config: NeuronConfig, mixing: Mixing) -> None:
        super().__init__(size, config, mixing)
        self.rate = Rate(size, config, mixing)
        self.adaptation = Rate(size, config, mixing)

    def read(self, current: Tensor, state: AdaptiveLTCState) -> tuple[Tensor, AdaptiveLTCState]:
        """One read; see `adaptive_ltc_step`."""
        kappa = self.rate(current, state.u)
        rho = self.adaptation(current, state.b)
        return adaptive_ltc_step(current, kappa, rho, state, self.config)
