"""Neurons in millivolts as layers: rest, read-out, gradients, and where they may be."""

import pytest
import torch

from spyv4.config import PHYSICAL_KINDS, ModelConfig, NeuronConfig
from spyv4.errors import ConfigError
from spyv4.network.blocks import SpikingDense
from spyv4.neurons import Mixing, build_neuron
from spyv4.neurons.izhikevich import CHATTERING, FAST_SPIKING, Izhikevich
from spyv4.neurons.surrogate import spike, spike_from_rest
from spyv4.validation import from_mapping
from tests.helpers.tiny_model import tiny_config

SHAPES: dict[Mixing, tuple[int, ...]] = {"conv": (2, 3, 4, 5), "dense": (2, 3)}
REST = {"izhikevich": -70.0, "hodgkin-huxley": -65.0}
SPIKES_AT = {"izhikevich": 30.0, "hodgkin-huxley": 0.0}
kinds = pytest.mark.parametrize("kind", PHYSICAL_KINDS)


def config(kind: str) -> NeuronConfig:
    return NeuronConfig(kind=kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("mixing", SHAPES)
@kinds
def test_states_start_at_rest_or_around_it(kind: str, mixing: Mixing) -> None:
    neuron = build_neuron(3, config(kind), mixing)
    like = torch.zeros((), dtype=torch.float64)
    state = neuron.initial_state(SHAPES[mixing], like=like)
    torch.testing.assert_close(state.u, torch.full_like(state.u, REST[kind]))
    assert all(variable.shape == SHAPES[mixing] for variable in state)
    assert all(variable.dtype == torch.float64 for variable in state)
    assert (neuron.potential(state) == 0).all()
    drawn = [
        neuron.initial_state(
            SHAPES[mixing], like=like, generator=torch.Generator().manual_seed(seed)
        )
        for seed in (0, 0, 1)
    ]
    assert torch.equal(drawn[0].u, drawn[1].u)
    assert not torch.equal(drawn[0].u, drawn[2].u)
    assert (drawn[0].u - REST[kind]).abs().max() <= 5
    assert drawn[0].u.std() > 1
    for mine, resting in zip(drawn[0][1:], state[1:], strict=True):
        assert torch.equal(mine, resting)


@kinds
def test_read_outs_see_one_where_a_spike_is(kind: str) -> None:
    neuron = build_neuron(3, config(kind), "dense")
    state = neuron.initial_state((1, 3), like=torch.zeros(()))
    state = state._replace(u=torch.full((1, 3), SPIKES_AT[kind]))
    torch.testing.assert_close(neuron.potential(state), torch.ones(1, 3))


@kinds
def test_nothing_fires_without_current_and_all_fire_with_it(kind: str) -> None:
    neuron = build_neuron(3, config(kind), "dense")
    for current, fires in ((0.0, False), (1.0, True)):
        state, total = neuron.initial_state((2, 3), like=torch.zeros(())), torch.zeros(2, 3)
        for _ in range(100):
            spikes, state = neuron(torch.full((2, 3), current), state)
            total = total + spikes
        assert (total > 2).all() if fires else (total == 0).all()


def test_cells_of_another_kind_fire_otherwise() -> None:
    totals = []
    for cell in (FAST_SPIKING, CHATTERING):
        neuron = Izhikevich(1, config("izhikevich"), "dense", cell)
        state, total = neuron.initial_state((1, 1), like=torch.zeros(())), 0.0
        for _ in range(300):
            spikes, state = neuron(torch.ones(1, 1), state)
            total += spikes.item()
        totals.append(total)
    assert min(totals) > 5
    assert totals[0] != totals[1]


def test_the_surrogate_is_as_wide_as_the_way_to_fire() -> None:
    """Of 100 mV from rest to the threshold, its unit is 150 mV; it is positive from rest on."""
    u = torch.linspace(-70, 60, 131, dtype=torch.float64, requires_grad=True)
    spikes = spike_from_rest(u, -70.0, 30.0, NeuronConfig())
    (slope,) = torch.autograd.grad(spikes.sum(), u)
    x = ((u - 30) / 150).detach().requires_grad_()
    (expected,) = torch.autograd.grad(spike(x, 0.0, NeuronConfig()).sum(), x)
    assert torch.equal(spikes, (u > 30).double())
    torch.testing.assert_close(slope, expected / 150)
    assert (slope[:100] > 0).all()


@kinds
def test_the_upstroke_does_not_multiply_the_gradient(kind: str) -> None:
    """Where both are about to fire by themselves, a small change of the potential grows."""
    begin = {"izhikevich": -45.0, "hodgkin-huxley": -54.0}[kind]
    neuron = build_neuron(1, config(kind), "dense")
    like = torch.zeros((), dtype=torch.float64)
    state = neuron.initial_state((1, 1), like=like)
    ends = []
    for start in (begin, begin + 0.001):
        u = torch.full((1, 1), start, dtype=torch.float64, requires_grad=True)
        _, after = neuron(torch.zeros(1, 1, dtype=torch.float64), state._replace(u=u))
        ends.append(after.u.item())
        (slope,) = torch.autograd.grad(after.u.sum(), u)
        assert 0 < slope.item() <= 1
    assert ends[0] > begin + 5
    assert (ends[1] - ends[0]) / 0.001 > 2


@pytest.mark.parametrize(
    "kind", ["izhikevich", pytest.param("hodgkin-huxley", marks=pytest.mark.slow)]
)
def test_gradients_are_finite_over_a_thousand_steps(kind: str) -> None:
    """Back through time over all of them, with a recurrent layer that fires; and they are small."""
    torch.manual_seed(0)
    layer = SpikingDense(2, 16, config(kind))
    with torch.no_grad():
        layer.synapse.weight.mul_(2)
        layer.synapse.bias.fill_(0.6)
    inputs = torch.rand(1, 1000, 2)
    state, total, seen = layer.initial_state(1), torch.zeros(()), torch.zeros(())
    for t in range(1000):
        spikes, state = layer(inputs[:, t], state)
        seen = seen + spikes.detach().mean() / 1000
        total = total + (spikes.mean() + layer.neuron.potential(state.neuron).mean()) / 1000
    total.backward()  # type: ignore[no-untyped-call]
    assert 0.005 < seen < 0.3
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert 0 < parameter.grad.abs().max() < 1


@kinds
def test_detectors_of_them_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"neuron\.kind of a detector must not be"):
        tiny_config(neuron={"kind": kind})
    with pytest.raises(ConfigError, match="choose ltc, adaptive-ltc, lif or adaptive-lif"):
        ModelConfig(neuron=config(kind))


@kinds
def test_a_threshold_that_would_do_nothing_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"threshold must be 1 for {kind} neurons"):
        from_mapping(NeuronConfig, {"kind": kind, "threshold": 0.5})
    assert config(kind).threshold == 1
