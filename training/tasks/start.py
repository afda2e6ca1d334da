"""Where the layers of a task's network start."""

import torch
from torch import Tensor, nn

from spyv4.network.blocks import SpikingDense
from spyv4.neurons.adaptive_lif import AdaptiveLIF
from spyv4.neurons.adaptive_ltc import AdaptiveLTC
from spyv4.neurons.lif import LIF
from spyv4.validation import Positive, configuration, require

Logits = tuple[float, float]


@configuration
class StartConfig:
    """What differs from how torch and the neurons start by themselves.

    A sequence that is longer than a neuron remembers can only be learned by many that forget at
    different speeds, and a rate that is 1/2 everywhere remembers for a step. Logit -4 is a time
    constant of 56 steps where it is that of a rate, 5 one of 149 where it is that of what is kept.

    Attributes:
        update_logits: of the potential's rate (kappa), drawn between these two, one a neuron.
        adaptation_logits: of what the threshold keeps (rho), likewise.
        input_gain: of the weights with which recurrent layers hear their input, > 0. torch draws
            them for as many inputs as there are neurons besides; a single pixel is then not heard.
        recurrent_gain: of those with which they hear themselves, > 0.
        readout_steps: time constant of leaky integrators, in steps, > 0.
    """

    update_logits: Logits = (0.0, 0.0)
    adaptation_logits: Logits = (0.0, 0.0)
    input_gain: Positive = 1.0
    recurrent_gain: Positive = 1.0
    readout_steps: Positive = 20.0

    def __post_init__(self) -> None:
        for name in ("update_logits", "adaptation_logits"):
            low, high = getattr(self, name)
            require(low <= high, f"{name} must be such as (-4, 0), not ({low}, {high})")


@torch.no_grad()
def start(network: nn.Module, config: StartConfig) -> None:
    """Put parameters where `config` says; neurons of the detailed kinds have no rates to be put.

    Args:
        network: fresh; what is drawn comes from torch's generator.
        config: says.
    """
    for layer in network.modules():
        if isinstance(layer, SpikingDense) and layer.recurrent:
            weight = layer.synapse.weight
            inputs = weight.shape[1] - layer.size
            weight[:, :inputs] *= config.input_gain
            weight[:, inputs:] *= config.recurrent_gain
        elif isinstance(layer, AdaptiveLTC):
            _draw(layer.rate.bias, config.update_logits)
            _draw(layer.adaptation.bias, config.adaptation_logits)
        elif isinstance(layer, LIF):
            _draw(layer.rate_logit, config.update_logits)
        elif isinstance(layer, AdaptiveLIF):
            _draw(layer.rate_logit, config.update_logits)
            _draw(layer.adaptation_logit, config.adaptation_logits)


def _draw(parameter: Tensor, logits: Logits) -> None:
    low, high = logits
    if low == high:
        parameter.fill_(low)
    else:
        parameter.uniform_(low, high)
