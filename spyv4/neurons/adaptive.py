"""The LTC neuron with an adaptive threshold (paper equation 8)."""

from typing import NamedTuple

from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.neurons.surrogate import spike

THRESHOLD_FLOOR = 0.1
THRESHOLD_SPAN = 1.8


class AdaptiveLTCState(NamedTuple):
    """State of a layer of adaptive LTC neurons.

    Attributes:
        u: membrane potential after the last read, [B, C, H, W].
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
    """One read of a layer of LTC neurons whose threshold rises with their own spikes.

        b_t     = rho_t b_{t-1} + (1 - rho_t) s_{t-1}
        theta_t = theta (0.1 + 1.8 b_t)
        u'_t    = u_{t-1} + kappa_t (c_t - u_{t-1})
        s_t     = 1 if u'_t > theta_t else 0
        u_t     = (1 - s_t) u'_t

    Args:
        current: input current c_t, [B, C, H, W].
        update_rate: kappa_t in (0, 1), same shape.
        adaptation_rate: rho_t in (0, 1), same shape.
        state: state after the read before.
        config: threshold and surrogate.

    Returns:
        Spikes in {0, 1}, [B, C, H, W], and the new state.
    """
    b = adaptation_rate * state.b + (1 - adaptation_rate) * state.spikes
    threshold = config.threshold * (THRESHOLD_FLOOR + THRESHOLD_SPAN * b)
    u = state.u + update_rate * (current - state.u)
    spikes = spike(u, threshold, config)
    return spikes, AdaptiveLTCState((1 - spikes) * u, b, spikes)
