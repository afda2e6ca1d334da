"""One adaptive LTC neuron whose time-constants depend on its input current alone."""

from typing import NamedTuple

import torch
from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.neurons.adaptive_ltc import AdaptiveLTCState, adaptive_ltc_step

NEURON = NeuronConfig(kind="adaptive-ltc")


class Weights(NamedTuple):
    """Effective weights of a neuron's two time-constants, dimensionless.

    Attributes:
        membrane: W_tau_m, of the share of the potential that a step keeps.
        adaptation: W_tau_adp, of the share of the threshold's adaptation that a step keeps.
    """

    membrane: float
    adaptation: float


@torch.no_grad()
def respond(current: Tensor, weights: Weights) -> Tensor:
    """Spikes of independent neurons, from rest.

        alpha_t = sigmoid(W_tau_m I_t),  rho_t = sigmoid(W_tau_adp I_t)

    and with them `adaptive_ltc_step`, where kappa = 1 - alpha: in the paper's equation (8b) alpha
    is exp(-dt / tau_m), what is kept.

    Args:
        current: input I_t of every neuron, [steps, neurons].
        weights: of all of them.

    Returns:
        Spikes in {0, 1}, of the same shape.
    """
    rest = torch.zeros_like(current[0])
    state = AdaptiveLTCState(rest, rest, rest)
    spikes = torch.empty_like(current)
    for step, now in enumerate(current):
        kept = torch.sigmoid(weights.membrane * now)
        adapted = torch.sigmoid(weights.adaptation * now)
        spikes[step], state = adaptive_ltc_step(now, 1 - kept, adapted, state, NEURON)
    return spikes
