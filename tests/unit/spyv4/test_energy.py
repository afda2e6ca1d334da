"""Operations and energy, against figures worked out by hand for the smallest network."""

from dataclasses import replace

import numpy as np
import pytest

from spyv4.config import HeadConfig, ModelConfig
from spyv4.energy import Comparison, compare
from spyv4.errors import ArgumentError, ConfigError
from spyv4.network.table import LAYER_NAMES
from spyv4.validation import from_mapping, to_mapping

# Width 1/32, so that the first layer has one channel, on a picture of 32 x 32 pixels:
# kernel^2 * channels in * channels out * places that are convolved.
SYNAPSES = {
    "stem1": 9 * 3 * 1 * 256,
    "stem2": 9 * 1 * 2 * 64,
    "csp1_a": 9 * 2 * 2 * 64,
    "csp1_b": 9 * 1 * 1 * 64,
    "csp1_c": 9 * 1 * 1 * 64,
    "csp1_d": 1 * 2 * 2 * 64,
    "csp2_a": 9 * 4 * 4 * 16,
    "csp2_b": 9 * 2 * 2 * 16,
    "csp2_c": 9 * 2 * 2 * 16,
    "csp2_d": 1 * 4 * 4 * 16,
    "csp3_a": 9 * 8 * 8 * 4,
    "csp3_b": 9 * 4 * 4 * 4,
    "csp3_c": 9 * 4 * 4 * 4,
    "csp3_d": 1 * 8 * 8 * 4,
    "deep": 9 * 16 * 16 * 1,
    "p5": 1 * 16 * 8 * 1,
    "p5_out": 9 * 8 * 16 * 1,
    "lateral": 1 * 8 * 4 * 1,
    "p4_out": 9 * 12 * 8 * 4,
}
NEURONS = [256, 128, 128, 64, 64, 128, 64, 32, 32, 64, 32, 16, 16, 32, 16, 8, 16, 16, 32]
P5_HEAD, P4_HEAD = 18 * 16 * 1, 18 * 8 * 4  # three anchors with box, objectness and one class
DEEPER = sum(SYNAPSES.values()) - SYNAPSES["stem1"]
RATES = 11 * 2304 + 8 * 576  # neurons * 9 * channels: 2304 in eleven layers, 576 in eight


def network(**neuron: str) -> ModelConfig:
    config = ModelConfig(width_multiple=1 / 32, class_names=("cat",), image_size=(32, 32))
    return from_mapping(ModelConfig, to_mapping(config) | {"neuron": neuron})


def rates(reads: int, value: float) -> np.ndarray:
    return np.full((reads, len(LAYER_NAMES)), value)


def of(config: ModelConfig, reads: int = 1, rate: float = 0.5) -> Comparison:
    return compare(config, (32, 32), rates(reads, rate), rates(reads, rate))


def test_every_layer_counts_its_own_spikes_and_messages() -> None:
    for index, (name, synapses) in enumerate(SYNAPSES.items()):
        firing, messages = rates(2, 0.0), rates(2, 0.0)
        firing[1, index], messages[0, index] = 0.25, 0.5
        counted = compare(network(), (32, 32), firing, messages).network
        heads = {"p5_out": P5_HEAD, "p4_out": P4_HEAD}.get(name, 0)
        assert counted.spikes == 0.25 * NEURONS[index]
        expected = 0.25 * heads + (0 if name == "stem1" else 0.5 * synapses)
        assert counted.synaptic_operations == expected, name


def test_pixels_count_once_and_rates_at_every_read() -> None:
    one, three = of(network()).network, of(network(), reads=3).network
    assert one.pixel_operations == three.pixel_operations == SYNAPSES["stem1"]
    assert (one.rate_operations, three.rate_operations) == (RATES, 3 * RATES)
    assert three.synaptic_operations == 3 * 0.5 * (DEEPER + P5_HEAD + P4_HEAD)


@pytest.mark.parametrize(
    ("neuron", "rate_operations"),
    [
        ({"fusion": "concat"}, 2 * RATES),
        ({"kind": "adaptive-ltc"}, 2 * RATES),
        ({"kind": "lif"}, 0),
        ({"kind": "adaptive-lif"}, 0),
    ],
)
def test_neurons_differ_by_the_convolutions_of_their_rates(
    neuron: dict[str, str], rate_operations: int
) -> None:
    counted = of(network(**neuron)).network
    assert counted == of(network()).network._replace(rate_operations=rate_operations)


def test_energy_is_that_of_additions_and_multiplications() -> None:
    both = of(network(), reads=2)
    accumulates = 2 * 0.5 * (DEEPER + P5_HEAD + P4_HEAD)
    nanojoules = 0.9e-3 * accumulates + 4.6e-3 * (SYNAPSES["stem1"] + 2 * RATES)
    assert both.network.energy_mj == pytest.approx(nanojoules * 1e-6, rel=1e-12)
    twin = DEEPER + SYNAPSES["stem1"] + P5_HEAD + P4_HEAD
    assert both.twin.energy_mj == pytest.approx(4.6e-9 * twin, rel=1e-12)


def test_a_twin_is_itself_at_one_read_and_has_no_spikes() -> None:
    one, four = of(network(kind="leaky-relu")), of(network(kind="leaky-relu"), reads=4)
    assert one.network == one.twin == four.twin == of(network()).twin
    assert four.network.multiply_accumulates == SYNAPSES["stem1"] + 4 * (DEEPER + P5_HEAD + P4_HEAD)


def test_two_heads_may_read_one_layer() -> None:
    config = replace(network(), heads=(HeadConfig("p5_out", ((9, 9),)),) * 2)
    assert of(config).twin.value_operations == DEEPER + 2 * 6 * 16


def test_the_papers_network_has_the_papers_size() -> None:
    paper = ModelConfig()
    both = compare(paper, (416, 416), rates(1, 1.0), rates(1, 1.0))
    assert both.network.spikes == 6_186_752
    giga_flop = 2e-9 * (both.twin.multiply_accumulates + both.network.rate_operations)
    assert giga_flop == pytest.approx(17.2, abs=0.05)


def test_rates_and_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"message_rates must be \[reads, 19\]"):
        compare(network(), (32, 32), rates(2, 0.1), rates(1, 0.1))
    with pytest.raises(ArgumentError, match="firing_rates"):
        compare(network(), (32, 32), np.zeros((2, 3)), rates(2, 0.1))
    with pytest.raises(ConfigError, match="multiples of 32"):
        compare(network(), (32, 33), rates(1, 0.1), rates(1, 0.1))


def test_pictures_of_different_numbers_of_reads_count_by_their_mean() -> None:
    """One picture of one read, and one of three: the mean of what each takes."""
    one, three = (compare(network(), (32, 32), rates(n, 0.5), rates(n, 0.5)) for n in (1, 3))
    mean = rates(3, 0.5)
    mean[1:] /= 2
    both = compare(network(), (32, 32), mean, mean, mean_reads=2.0)
    assert both.twin == one.twin
    expected = [(a + b) / 2 for a, b in zip(one.network, three.network, strict=True)]
    assert both.network == pytest.approx(expected)
