"""The leaky integrate-and-fire (LIF) neuron with a learned time constant."""

import torch
from torch import Tensor, nn

from spyv4.config import NeuronConfig
from spyv4.neurons.base import Mixing, Neuron
from spyv4.neurons.ltc import LTCState, ltc_step

LIFState = LTCState
"""A potential and nothing else."""


class LIF(Neuron):
    """LIF neurons: an LTC neuron whose rate is a learned number instead of a function.

        kappa = sigmoid(w)                one a channel, or one a neuron of a dense layer
        u'_t = u_{t-1} + kappa (c_t - u_{t-1})
        s_t = 1 if u'_t > theta else 0;  u_t = (1 - s_t) u'_t

    With kappa = 1 - exp(-dt / tau). Source: Gerstner and Kistler, Spiking Neuron Models (2002),
    section 4.1; a learned tau: Fang et al. 2021, Incorporating Learnable Membrane Time Constant.
    """

    state_type = LIFState

    def __init__(self, size: int, config: NeuronConfig, mixing: Mixing) -> None:
        super().__init__(size, config, mixing)
        self.rate_logit = nn.Parameter(torch.full(self.value_shape, config.rate_bias))

    def read(self, current: Tensor, state: LIFState) -> tuple[Tensor, LIFState]:
        """One read."""
        return ltc_step(current, self.rate_logit.sigmoid(), state, self.config)
