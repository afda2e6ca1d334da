"""What looking at a picture takes: spikes, synaptic operations, and an estimate of the energy.

Counted for one picture, with h x w the places where layer l convolves C_in channels to C_out with
a k x k kernel, t the read, and synapses(l) = k^2 C_in C_out h w:

    spikes               sum over t and l of  firing rate(l, t) * neurons(l)
    synaptic operations  sum over t and l of  message rate(l, t) * synapses(l)
    pixel operations     synapses(first layer), once: its current is the same at every read
    rate operations      sum over t and l of  b n 3^2 C_out^2 h' w',  with h' x w' its neurons

A message rate is the share of ones in what a layer receives, measured after concatenation, halving
and max-pooling; so message rate * synapses is (spikes received) * fan-out, where the fan-out of a
spike is k^2 C_out / stride^2. The output convolutions of the heads are counted like layers, at
every read. A synaptic operation is an accumulate, since a spike is one: its weight is added. Pixels
and membrane potentials are real numbers, so that the first layer and the 3x3 convolutions in which
(adaptive) LTC neurons compute their rates multiply and accumulate; b = 1 rate for `ltc`, 2 for
`adaptive-ltc`, 0 for `lif`, `adaptive-lif`; n = 1 for `fusion="sum"`, 2 for `concat`.

The non-spiking twin has the same layers with values in place of spikes, and one read: it multiplies
and accumulates at all of its synapses, those of the heads among them, and has no rates.

    energy = 0.9 pJ * accumulates + 4.6 pJ * (multiply-accumulates)

These are a 32-bit floating-point addition and that plus a multiplication (3.7 pJ) at 45 nm:
M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014, figure 1.1.9.

Not counted: reading and writing memory, which on real hardware takes more than the arithmetic; what
each neuron does on its own (leak, sigmoid, threshold, reset; biases, leaky ReLU), pooling, and the
read-out's average, some ten operations a neuron where a synapse's layer has hundreds; decoding and
suppression of boxes. Synapses beyond the border of a picture are counted as if they were there.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spyv4.config import ModelConfig, check_image_size
from spyv4.errors import ArgumentError
from spyv4.network.table import LAYER_NAMES, ROWS, STRIDES, Row, in_channels, layer_channels
from spyv4.neurons.base import RATE_KERNEL

ACCUMULATE_PJ = 0.9
MULTIPLY_ACCUMULATE_PJ = 4.6
_PJ_IN_A_MJ = 1e9
_RATES = {"ltc": 1, "adaptive-ltc": 2}
"""How many rates a neuron computes by a convolution; those not named learn constants, or none."""


class Operations(NamedTuple):
    """What is done for one picture, in numbers of operations; see the module's equations.

    Attributes:
        spikes: of all neurons at all reads.
        synaptic_operations: accumulates that spikes cause.
        pixel_operations: multiply-accumulates of the first layer.
        rate_operations: multiply-accumulates of the neurons' rates.
        value_operations: multiply-accumulates at synapses that carry values: the twin's.
    """

    spikes: float
    synaptic_operations: float
    pixel_operations: float
    rate_operations: float
    value_operations: float

    @property
    def multiply_accumulates(self) -> float:
        """All of them."""
        return self.pixel_operations + self.rate_operations + self.value_operations

    @property
    def energy_mj(self) -> float:
        """Estimated energy in millijoules."""
        picojoules = (
            ACCUMULATE_PJ * self.synaptic_operations
            + MULTIPLY_ACCUMULATE_PJ * self.multiply_accumulates
        )
        return picojoules / _PJ_IN_A_MJ


class Comparison(NamedTuple):
    """A network beside its twin.

    Attributes:
        network: at the number of reads that was measured.
        twin: the same layers without spikes, at one read.
    """

    network: Operations
    twin: Operations

    @property
    def is_twin(self) -> bool:
        """Whether the network is a twin itself, which has no spikes."""
        return self.network.value_operations > 0


def compare(
    config: ModelConfig,
    image_size: tuple[int, int],
    firing_rates: NDArray[np.float64],
    message_rates: NDArray[np.float64],
    *,
    mean_reads: float | None = None,
) -> Comparison:
    """Count the operations of a network for one picture, and those of its twin.

    Args:
        config: of the network; if it is a twin itself, all of its reads are counted.
        image_size: (height, width) in pixels that pictures are looked at in, multiples of 32.
        firing_rates: mean over pictures by read and layer, shallow to deep, [reads, 19], 0..1;
            see `spyv4.activity.Activity`.
        message_rates: likewise.
        mean_reads: how many reads a picture got on average, where some got fewer than others; the
            rates of reads that were not made are 0.

    Raises:
        ArgumentError: if the rates are not of that shape.
        ConfigError: if a side is not a positive multiple of 32.
    """
    check_image_size(image_size)
    shape = (len(firing_rates), len(LAYER_NAMES))
    reads = shape[0] if mean_reads is None else mean_reads
    for name, rates in (("firing_rates", firing_rates), ("message_rates", message_rates)):
        if rates.shape != shape:
            raise ArgumentError(
                f"{name} must be [reads, {len(LAYER_NAMES)}], the same reads in both, not of shape "
                f"{rates.shape}"
            )
    channels = layer_channels(config.width_multiple)
    pixels, *deeper = (_synapses(row, channels, image_size) for row in ROWS)
    heads = _head_synapses(config, channels, image_size)
    twin = Operations(0, 0, pixels, 0, sum(deeper) + int(heads.sum()))
    if not config.neuron.spikes:
        return Comparison(twin._replace(value_operations=reads * twin.value_operations), twin)
    neurons = np.array(
        [channels[name] * _places(image_size, STRIDES[name]) for name in LAYER_NAMES]
    )
    of_rates = neurons @ [_rate_fan_in(config, channels[name]) for name in LAYER_NAMES]
    network = Operations(
        spikes=float((firing_rates @ neurons).sum()),
        synaptic_operations=float((message_rates[:, 1:] @ deeper + firing_rates @ heads).sum()),
        pixel_operations=pixels,
        rate_operations=reads * int(of_rates),
        value_operations=0,
    )
    return Comparison(network, twin)


def _places(image_size: tuple[int, int], stride: int) -> int:
    """Height times width of a map with that many pixels from one place to the next."""
    return math.prod(side // stride for side in image_size)


def _synapses(row: Row, channels: Mapping[str, int], image_size: tuple[int, int]) -> int:
    """Those of a layer."""
    # `up` convolves before it repeats, on maps of its input's size.
    stride = STRIDES[row.inputs[0]] if row.kind == "up" else STRIDES[row.name]
    fan_in = row.kernel**2 * in_channels(row, channels)
    return fan_in * channels[row.name] * _places(image_size, stride)


def _head_synapses(
    config: ModelConfig, channels: Mapping[str, int], image_size: tuple[int, int]
) -> NDArray[np.int64]:
    """Those of the output convolutions, by the layer they read, [layers]."""
    synapses = np.zeros(len(LAYER_NAMES), np.int64)
    for head in config.heads:
        outputs = len(head.anchors) * config.outputs_per_anchor
        places = _places(image_size, STRIDES[head.layer])
        synapses[LAYER_NAMES.index(head.layer)] += outputs * channels[head.layer] * places
    return synapses


def _rate_fan_in(config: ModelConfig, channels: int) -> int:
    """Multiply-accumulates at one read for the rates of one neuron of a layer."""
    fused = 2 if config.neuron.fusion == "concat" else 1
    return _RATES.get(config.neuron.kind, 0) * fused * RATE_KERNEL**2 * channels
