"""Where a task's network starts."""

from typing import Any

import pytest
import torch

from spyv4.errors import ConfigError
from training.tasks.network import TaskNetwork
from training.tasks.notation import parse_network
from training.tasks.start import StartConfig

SPREAD = StartConfig(update_logits=(-4.0, -1.0), adaptation_logits=(2.0, 5.0))


def build(notation: str, neuron: Any, begin: StartConfig, inputs: Any = (2,)) -> TaskNetwork:
    torch.manual_seed(0)
    return TaskNetwork(parse_network(notation), inputs, neuron, begin)


def test_weights_are_scaled_by_what_is_heard() -> None:
    plain = build("6R-3I", "ltc", StartConfig()).layers["0"].synapse.weight
    scaled = build("6R-3I", "ltc", StartConfig(input_gain=5.0, recurrent_gain=2.0))
    weight = scaled.layers["0"].synapse.weight
    assert torch.equal(weight[:, :2], 5 * plain[:, :2])
    assert torch.equal(weight[:, 2:], 2 * plain[:, 2:])


def test_layers_that_do_not_hear_themselves_are_left() -> None:
    scaled = build("6D-3I", "ltc", StartConfig(input_gain=5.0))
    plain = build("6D-3I", "ltc", StartConfig())
    assert torch.equal(scaled.layers["0"].synapse.weight, plain.layers["0"].synapse.weight)


@pytest.mark.parametrize("neuron", ["ltc", "alif", "lif"])
def test_rates_are_spread(neuron: str) -> None:
    found = build("200R-3I", neuron, SPREAD).layers["0"].neuron
    ltc = neuron == "ltc"
    update = found.rate.bias if ltc else found.rate_logit
    assert (update >= -4).all()
    assert (update <= -1).all()
    assert update.std() > 0.5
    if neuron != "lif":
        kept = found.adaptation.bias if ltc else found.adaptation_logit
        assert (kept >= 2).all()
        assert (kept <= 5).all()
        assert kept.std() > 0.5


def test_rates_of_convolutions_are_spread_too() -> None:
    network = build("ConvK3C8S1P1-3I", "ltc", SPREAD, (1, 4, 4))
    bias = network.layers["0"].conv.neuron.rate.bias
    assert len(bias) == 8
    assert -4 <= bias.min() < bias.max() <= -1


def test_the_read_out_starts_as_slow_as_it_is_told() -> None:
    network = build("6R-3I", "ltc", StartConfig(readout_steps=50.0))
    kept = 1 - network.readout.rate_logit.sigmoid()
    torch.testing.assert_close(kept, torch.full((3,), 0.98020), atol=1e-5, rtol=0)


def test_limits_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ConfigError, match="update_logits must be such as"):
        StartConfig(update_logits=(1.0, 0.0))
