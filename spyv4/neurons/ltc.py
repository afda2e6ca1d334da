"""The liquid time-constant (LTC) neuron of the released SPYv4 (reference section 2)."""

from typing import NamedTuple

from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.neurons.surrogate import spike


class LTCState(NamedTuple):
    """State of a layer of LTC neurons.

    Attributes:
        u: membrane potential after the last read, [B, C, H, W].
    """

    u: Tensor


def ltc_step(
    current: Tensor, update_rate: Tensor, state: LTCState, config: NeuronConfig
) -> tuple[Tensor, LTCState]:
    """One read of a layer of LTC neurons.

        u'_t = u_{t-1} + kappa_t (c_t - u_{t-1})
        s_t  = 1 if u'_t > theta else 0
        u_t  = (1 - s_t) u'_t

    This is the leaky integrator that the authors' code runs. The paper's equation (8d) read to
    the letter, u_t = a u_{t-1} + (1 - a)(x_t - u_{t-1}), is not the same and is not used.

    Args:
        current: input current c_t, [B, C, H, W].
        update_rate: kappa_t in (0, 1), of the same shape; dimensionless.
        state: potentials after the read before.
        config: threshold and surrogate.

    Returns:
        Spikes in {0, 1}, [B, C, H, W], and the new state. Gradient flows through the reset.
    """
    u = state.u + update_rate * (current - state.u)
    spikes = spike(u, config.threshold, config)
    return spikes, LTCState((1 - spikes) * u)
