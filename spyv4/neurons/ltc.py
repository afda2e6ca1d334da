"""The liquid time-constant (LTC) neuron of the released SPYv4 (reference section 2)."""

from typing import NamedTuple

from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.neurons.base import Mixing, Neuron, Rate
from spyv4.neurons.surrogate import spike


class LTCState(NamedTuple):
    """State of a layer of LTC neurons.

    Attributes:
        u: membrane potential after the last read, [B, C, H, W] or [B, N].
    """

    u: Tensor


def ltc_step(
    current: Tensor, update_rate: Tensor, state: LTCState, config: NeuronConfig
) -> tuple[Tensor, LTCState]:
    """One read of LTC neurons, given their rates.

        u'_t = u_{t-1} + kappa_t (c_t - u_{t-1})
        s_t  = 1 if u'_t > theta else 0
        u_t  = (1 - s_t) u'_t

    This is the leaky integrator that the authors' code runs. The paper's equation (8d) read to
    the letter, u_t = a u_{t-1} + (1 - a)(x_t - u_{t-1}), is not the same and is not used.

    Args:
        current: input current c_t, any shape.
        update_rate: kappa_t in (0, 1), of the same shape; dimensionless.
        state: potentials after the read before.
        config: threshold and surrogate.

    Returns:
        Spikes in {0, 1}, of the shape of `current`, and the new state. Gradient flows through the
        reset.
    """
    u = state.u + update_rate * (current - state.u)
    spikes = spike(u, config.threshold, config)
    return spikes, LTCState((1 - spikes) * u)


class LTC(Neuron):
    """LTC neurons: `ltc_step` with kappa_t = sigmoid(mix(c_t, u_{t-1})) (see `Rate`)."""

    state_type = LTCState

    def __init__(self, size: int, config: NeuronConfig, mixing: Mixing) -> None:
        super().__init__(size, config, mixing)
        self.rate = Rate(size, config, mixing)

    def read(self, current: Tensor, state: LTCState) -> tuple[Tensor, LTCState]:
        """One read; see `ltc_step`."""
        return ltc_step(current, self.rate(current, state.u), state, self.config)
