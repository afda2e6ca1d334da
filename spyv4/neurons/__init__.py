"""Spiking neurons, one a file: state, equation, step, and the branch that computes its rates."""

from spyv4.config import NeuronConfig
from spyv4.neurons.adaptive_lif import AdaptiveLIF
from spyv4.neurons.adaptive_ltc import AdaptiveLTC
from spyv4.neurons.base import Mixing, Neuron
from spyv4.neurons.hodgkin_huxley import HodgkinHuxley
from spyv4.neurons.izhikevich import Izhikevich
from spyv4.neurons.leaky_relu import LeakyReLU
from spyv4.neurons.lif import LIF
from spyv4.neurons.ltc import LTC
from spyv4.neurons.quantised_relu import QuantisedReLU

__all__ = [
    "LIF",
    "LTC",
    "AdaptiveLIF",
    "AdaptiveLTC",
    "HodgkinHuxley",
    "Izhikevich",
    "LeakyReLU",
    "Mixing",
    "Neuron",
    "QuantisedReLU",
    "build_neuron",
]

KINDS: dict[str, type[Neuron]] = {
    "ltc": LTC,
    "adaptive-ltc": AdaptiveLTC,
    "lif": LIF,
    "adaptive-lif": AdaptiveLIF,
    "izhikevich": Izhikevich,
    "hodgkin-huxley": HodgkinHuxley,
    "leaky-relu": LeakyReLU,
    "quantised-relu": QuantisedReLU,
}
"""The neuron of each `NeuronConfig.kind`."""


def build_neuron(size: int, config: NeuronConfig, mixing: Mixing) -> Neuron:
    """The neurons of one layer.

    Args:
        size: channels of a convolutional layer, neurons of a dense one.
        config: kind, threshold and surrogate.
        mixing: `conv` where the state is [B, size, H, W], `dense` where it is [B, size].
    """
    return KINDS[config.kind](size, config, mixing)
