"""A spiking network that starts from its twin says nearly the same as it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.errors import CheckpointError, ConfigError
from spyv4.network.readout import Maps
from spyv4.network.spyv4 import Spikes, SPYv4
from tests.helpers.tiny_model import tiny_config
from training.distillation.loss import correlation
from training.warm_start import find_levels, start_from_twin

TWIN = replace(tiny_config(), neuron=NeuronConfig(kind="leaky-relu"))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def twin(images: Tensor) -> SPYv4:
    """With batch statistics of the pictures, as after training."""
    torch.manual_seed(1)
    network = SPYv4(TWIN).train()
    with torch.no_grad():
        for _ in range(30):
            network.step(images, network.initial_state(8, (64, 64)))
    return network.eval()


@pytest.mark.parametrize("spikes", [1, 2, 3])
def test_levels_are_the_best_in_least_squares(spikes: int) -> None:
    values = torch.randn(1, 1, 40, 50, generator=torch.Generator().manual_seed(3)) + 0.3
    values = torch.maximum(values, 0.1 * values)
    base, steps, thresholds = (x[0] for x in find_levels(values, spikes))

    def error(base: Tensor, steps: Tensor) -> float:
        said = base + ((values[..., None] > thresholds) * steps).sum(-1)
        return float((values - said).square().mean())

    least = error(base, steps)
    assert least < error(torch.zeros(()), steps)
    for spike in range(spikes):
        for factor in (0.7, 0.9, 1.1, 1.4):
            other = steps.clone()
            other[spike] *= factor
            assert least < error(base, other)
    if spikes > 1:
        fewer = find_levels(values, spikes - 1)
        said = fewer.base[0] + ((values[..., None] > fewer.thresholds[0]) * fewer.steps[0]).sum(-1)
        assert least < 0.7 * float((values - said).square().mean())


def test_a_channel_that_is_never_active_gets_a_threshold_above_rest() -> None:
    values = -torch.rand(2, 3, 8, 8)
    base, steps, thresholds = find_levels(values, 2)
    assert torch.isfinite(torch.cat((base[:, None], steps, thresholds), 1)).all()
    assert (thresholds > 0).all()


def first_read(network: SPYv4, images: Tensor) -> tuple[Maps, Spikes]:
    with torch.no_grad():
        state = network.initial_state(8, (64, 64))
        maps, _, spikes = network.step_from_current(network.current(images), state)
    return maps, spikes


@pytest.mark.parametrize("spikes", [1, 2])
def test_layers_fire_where_their_twin_is_active(twin: SPYv4, images: Tensor, spikes: int) -> None:
    torch.manual_seed(2)
    spiking = SPYv4(tiny_config(width_multiple=0.125 * spikes))
    start_from_twin(spiking, twin, images)
    spiking.train()  # batch norm of the moment: what a message of 0 or 1 changes is normalised
    fired, values = first_read(spiking, images)[1], first_read(twin, images)[1]
    first = fired["stem1"].flatten(), values["stem1"].repeat_interleave(spikes, 1).flatten()
    assert float(torch.corrcoef(torch.stack(first))[0, 1]) > 0.7
    for name, spikes_of_layer in fired.items():
        goal = values[name].repeat_interleave(spikes, 1)
        pair = torch.stack((spikes_of_layer.flatten(), goal.flatten()))
        assert float(torch.corrcoef(pair)[0, 1]) > 0.1, name
        assert 0.05 < float(spikes_of_layer.mean()) < 0.7, name


def test_more_spikes_a_value_say_more_nearly_what_the_twin_says(
    twin: SPYv4, images: Tensor
) -> None:
    """At inference too: means and biases make up for what a silent channel says."""

    def alike(spikes: int) -> float:
        torch.manual_seed(2)
        spiking = SPYv4(tiny_config(width_multiple=0.125 * spikes))
        start_from_twin(spiking, twin, images)
        maps = first_read(spiking.eval(), images)[0]
        return float(correlation(maps[1], first_read(twin, images)[0][1]))

    one, two, three = (alike(spikes) for spikes in (1, 2, 3))
    assert one < two < three


def test_a_twin_of_other_layers_is_refused(twin: SPYv4, images: Tensor) -> None:
    wider = SPYv4(tiny_config(width_multiple=0.1875))
    with pytest.raises(ConfigError, match=r"0\.125 does not go into the network's, 0\.1875"):
        start_from_twin(wider, twin, images)
    other = SPYv4(tiny_config(class_names=("cat",)))
    with pytest.raises(CheckpointError, match="another class_names"):
        start_from_twin(other, twin, images)
    one = SPYv4(replace(tiny_config(), heads=tiny_config().heads[:1]))
    with pytest.raises(CheckpointError, match="other heads"):
        start_from_twin(one, twin, images)


QUANTISED = replace(tiny_config(), neuron=NeuronConfig(kind="quantised-relu", steps=2))


@pytest.fixture(scope="module")
def quantised(twin: SPYv4, images: Tensor) -> SPYv4:
    """Of the twin, with levels that differ from channel to channel, as after training."""
    torch.manual_seed(4)
    network = SPYv4(QUANTISED)
    start_from_twin(network, twin, images)
    with torch.no_grad():
        for layer in network.spiking.values():
            layer.neuron.log_gain.add_(0.2 * torch.randn_like(layer.neuron.log_gain))
            layer.neuron.log_step.add_(0.2 * torch.randn_like(layer.neuron.log_step))
    return network.eval()


def test_quantised_values_are_near_those_of_the_twin(twin: SPYv4, images: Tensor) -> None:
    torch.manual_seed(2)
    network = SPYv4(QUANTISED)
    start_from_twin(network, twin, images)
    network.train()
    said, values = first_read(network, images)[1], first_read(twin, images)[1]
    for name in values:
        assert all(len(channel.unique()) <= 3 for channel in said[name].transpose(0, 1))
    shallow = correlation(said["stem1"], values["stem1"]).min()
    assert shallow > 0.8


def test_two_spikes_say_exactly_what_a_quantised_value_says(
    quantised: SPYv4, images: Tensor
) -> None:
    torch.manual_seed(2)
    spiking = SPYv4(tiny_config(width_multiple=0.25))
    start_from_twin(spiking, quantised, images)
    for layer in spiking.spiking.values():  # a rate that does not depend on the current
        layer.neuron.rate.mix.norm.weight.data.zero_()
    spiking.eval()
    (maps, fired), (taught, values) = first_read(spiking, images), first_read(quantised, images)
    for name, layer in quantised.spiking.items():
        steps = layer.neuron.log_step.exp().view(2, -1)
        pairs = fired[name].unflatten(1, (-1, 2))
        said = (pairs * steps.T[:, :, None, None]).sum(2)
        assert (said - values[name]).abs().gt(1e-4).float().mean() < 1e-3, name
    for own, other in zip(maps, taught, strict=True):
        assert (own - other).abs().mean() < 0.01 * other.abs().mean()


def test_a_channel_for_every_spike_of_a_value_says_the_same(
    quantised: SPYv4, images: Tensor
) -> None:
    torch.manual_seed(2)
    neuron = NeuronConfig(kind="quantised-relu", steps=1)
    wide = SPYv4(replace(QUANTISED, width_multiple=0.25, neuron=neuron)).eval()
    start_from_twin(wide, quantised, images)
    for own, other in zip(
        first_read(wide, images)[0], first_read(quantised, images)[0], strict=True
    ):
        assert (own - other).abs().mean() < 0.01 * other.abs().mean()
    with torch.no_grad():
        for layer in wide.spiking.values():
            layer.neuron.log_step.add_(0.2 * torch.randn_like(layer.neuron.log_step))
    spiking = SPYv4(tiny_config(width_multiple=0.25)).eval()
    start_from_twin(spiking, wide, images)
    for layer in spiking.spiking.values():
        layer.neuron.rate.mix.norm.weight.data.zero_()
    for own, other in zip(first_read(spiking, images)[0], first_read(wide, images)[0], strict=True):
        assert (own - other).abs().mean() < 0.01 * other.abs().mean()


def test_widths_that_do_not_fit_are_refused(twin: SPYv4, quantised: SPYv4, images: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"width_multiple of 0\.25"):
        start_from_twin(SPYv4(tiny_config()), quantised, images)
    with pytest.raises(ConfigError, match="steps = 1"):
        start_from_twin(SPYv4(replace(QUANTISED, width_multiple=0.25)), twin, images)
