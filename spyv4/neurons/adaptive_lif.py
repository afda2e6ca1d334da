"""The adaptive LIF neuron: a threshold that rises with the neuron's own spikes."""

import torch
from torch import Tensor, nn

from spyv4.config import NeuronConfig
from spyv4.neurons.adaptive_ltc import AdaptiveLTCState, adaptive_ltc_step
from spyv4.neurons.base import Mixing, Neuron

AdaptiveLIFState = AdaptiveLTCState
"""Potential, average of the spikes, and the last spikes."""


class AdaptiveLIF(Neuron):
    """Adaptive LIF neurons: an adaptive LTC neuron with two learned numbers for its rates.

        kappa = sigmoid(w),  rho = sigmoid(v)      one a channel, or one a neuron of a dense layer
        b_t = rho b_{t-1} + (1 - rho) s_{t-1};  theta_t = theta (0.1 + 1.8 b_t)
        u'_t = u_{t-1} + kappa (c_t - u_{t-1})
        s_t = 1 if u'_t > theta_t else 0;  u_t = (1 - s_t) u'_t

    With kappa = 1 - exp(-dt / tau_m) and rho = exp(-dt / tau_adp). Source: Yin, Corradi and Bohte
    2021, Accurate and efficient time-domain classification with adaptive spiking recurrent neural
    networks, whose neuron subtracts the threshold at a spike; here it is reset to zero as the
    others are.
    """

    state_type = AdaptiveLIFState

    def __init__(self, size: int, config: NeuronConfig, mixing: Mixing) -> None:
        super().__init__(size, config, mixing)
        self.rate_logit = nn.Parameter(torch.full(self.value_shape, config.rate_bias))
        self.adaptation_logit = nn.Parameter(torch.full(self.value_shape, config.rate_bias))

    def read(self, current: Tensor, state: AdaptiveLIFState) -> tuple[Tensor, AdaptiveLIFState]:
        """One read."""
        kappa, rho = self.rate_logit.sigmoid(), self.adaptation_logit.sigmoid()
        return adaptive_ltc_step(current, kappa, rho, state, self.config)
