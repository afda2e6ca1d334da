"""Neurons as modules: whatever kind they are, a layer treats them alike."""

import math
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor

from spyv4.config import PHYSICAL_KINDS, NeuronConfig
from spyv4.errors import StateShapeError
from spyv4.network.blocks import SpikingConv2d, SpikingDense
from spyv4.neurons import KINDS, Mixing, build_neuron
from tests.helpers.tiny_model import same

SHAPES: dict[Mixing, tuple[int, ...]] = {"conv": (2, 3, 4, 5), "dense": (2, 3)}


SPIKING = [kind for kind in KINDS if NeuronConfig(kind=kind).spikes]  # type: ignore[arg-type]
LEARNING = [kind for kind in SPIKING if kind not in PHYSICAL_KINDS]
"""Those with parameters of their own."""


def config(kind: str, **changes: Any) -> NeuronConfig:
    return NeuronConfig(kind=kind, **changes)  # type: ignore[arg-type]


def test_every_kind_of_the_configuration_has_a_neuron() -> None:
    assert set(get_args(get_type_hints(NeuronConfig)["kind"])) == set(KINDS)


@pytest.mark.parametrize("mixing", SHAPES)
@pytest.mark.parametrize("kind", SPIKING)
def test_a_read_gives_spikes_and_a_state_that_fits(kind: str, mixing: Mixing) -> None:
    torch.manual_seed(0)
    shape = SHAPES[mixing]
    neuron = build_neuron(3, config(kind), mixing).eval()
    state = neuron.initial_state(shape, like=torch.zeros(()))
    total = torch.zeros(())
    for _ in range(4):
        spikes, after = neuron(2 * torch.rand(shape), state)
        assert spikes.shape == shape
        assert ((spikes == 0) | (spikes == 1)).all()
        assert type(after) is type(state)
        assert all(leaf.shape == shape for leaf in after)
        total, state = total + spikes.sum(), after
    assert 0 < total < 4 * math.prod(shape)


@pytest.mark.parametrize("kind", LEARNING)
def test_gradient_reaches_every_parameter(kind: str) -> None:
    torch.manual_seed(0)
    neuron = build_neuron(3, config(kind), "conv")
    state = neuron.initial_state((2, 3, 4, 5), like=torch.zeros(()))
    for _ in range(3):
        _, state = neuron(2 * torch.rand(2, 3, 4, 5), state)
    state.u.sum().backward()
    missing = [n for n, p in neuron.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_a_quantised_value_is_a_sum_of_steps_that_are_learned() -> None:
    neuron = build_neuron(2, config("quantised-relu", steps=2), "dense")
    with torch.no_grad():
        # By step and then channel: thresholds 0.5, 1 and 1, 4 (theta / gain).
        neuron.log_gain.copy_(torch.tensor([2.0, 1.0, 1.0, 0.25]).log())  # type: ignore[operator, union-attr]
        neuron.log_step.copy_(torch.tensor([1.0, 10.0, 2.0, 20.0]).log())  # type: ignore[operator, union-attr]
    current = torch.tensor([[0.4, 0.9], [0.6, 1.1], [1.1, 4.1]], requires_grad=True)
    values, _ = neuron(current, neuron.initial_state((3, 2), like=current))
    torch.testing.assert_close(values, torch.tensor([[0.0, 0.0], [1.0, 10.0], [3.0, 30.0]]))
    values.sum().backward()
    assert current.grad is not None
    assert (current.grad > 0).all()
    assert all(p.grad is not None and p.grad.all() for p in neuron.parameters())


@pytest.mark.parametrize("kind", SPIKING)
def test_a_state_that_does_not_fit_is_refused(kind: str) -> None:
    neuron = build_neuron(3, config(kind), "dense")
    state = neuron.initial_state((2, 3), like=torch.zeros(()))
    with pytest.raises(StateShapeError, match="does not fit an input current"):
        neuron(torch.zeros(3, 3), state)
    with pytest.raises(StateShapeError, match="need a state of type"):
        neuron(torch.zeros(2, 3), (torch.zeros(2, 3),))


def spike_train(kind: str, current: float, reads: int, **changes: Any) -> list[int]:
    """Spikes of one dense neuron under constant current, all its rates 1/2."""
    neuron = build_neuron(1, config(kind, rate_bias=0.0, **changes), "dense")
    with torch.no_grad():
        for parameter in neuron.parameters():
            parameter.zero_()
        state = neuron.initial_state((1, 1), like=torch.zeros(()))
        spikes: list[int] = []
        for _ in range(reads):
            fired, state = neuron(torch.full((1, 1), current), state)
            spikes.append(int(fired.item()))
    return spikes


@pytest.mark.parametrize("kind", ["adaptive-ltc", "adaptive-lif"])
def test_adaptive_neurons_fire_less_the_more_they_fired(kind: str) -> None:
    """Current 0.5: a spike raises the threshold of 0.1 to 1.0, from where it falls: 0.55, 0.325.

    Meanwhile u' is 0.25, 0.375, 0.4375, so that the third read after a spike is the next to fire.
    """
    assert spike_train(kind, 0.5, 7) == [1, 0, 0, 1, 0, 0, 1]
    assert spike_train(kind, 5.0, 6) == [1] * 6  # above any threshold, 1.9 at most
    plain = {"adaptive-ltc": "ltc", "adaptive-lif": "lif"}[kind]
    assert spike_train(plain, 0.5, 7, threshold=0.1) == [1] * 7


def test_lif_is_the_equation() -> None:
    """kappa = 1/4, current 1.25: spikes at the sixth read, as the LTC neuron of that rate."""
    neuron = build_neuron(1, config("lif"), "dense")
    with torch.no_grad():
        neuron.rate_logit.fill_(torch.tensor(0.25).logit())  # type: ignore[operator, union-attr]
        state = neuron.initial_state((1, 1), like=torch.zeros(()))
        potentials = []
        for _ in range(7):
            _, state = neuron(torch.full((1, 1), 1.25), state)
            potentials.append(round(state.u.item(), 4))
    assert potentials == [0.3125, 0.5469, 0.7227, 0.8545, 0.9534, 0.0, 0.3125]


def test_a_dense_layer_hears_its_own_last_spikes() -> None:
    torch.manual_seed(0)
    layer = SpikingDense(2, 3, NeuronConfig(kind="lif", rate_bias=20.0))  # potential = current
    x = torch.randn(4, 2)
    with torch.no_grad():
        layer.synapse.weight.mul_(4)
        spikes, state = layer(x, layer.initial_state(4))
        again, _ = layer(x, state)
        weight, bias = layer.synapse.weight, layer.synapse.bias
        first = (x @ weight[:, :2].T + bias > 1).float()
        second = (x @ weight[:, :2].T + first @ weight[:, 2:].T + bias > 1).float()
    assert torch.equal(spikes, first)
    assert same(state.spikes, first)
    assert torch.equal(again, second)
    assert not torch.equal(first, second)


def test_dropout_leaves_out_whole_channels_while_training() -> None:
    torch.manual_seed(0)
    layer = SpikingConv2d(64, 4, 1, NeuronConfig(), dropout=0.5)
    seen: list[Tensor] = []
    layer.synapse.register_forward_pre_hook(lambda _, received: seen.append(received[0]))
    layer.current(torch.ones(1, 64, 3, 3))
    layer.eval().current(torch.ones(1, 64, 3, 3))
    dropped = seen[0].flatten(2)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert (dropped == dropped[..., :1]).all()
    assert torch.equal(seen[1], torch.ones(1, 64, 3, 3))


def test_the_unit_of_the_twin_remembers_nothing() -> None:
    unit = build_neuron(2, config("leaky-relu"), "dense")
    state = unit.initial_state((1, 2), like=torch.zeros(()))
    value, after = unit(torch.tensor([[3.0, -2.0]]), state)
    torch.testing.assert_close(value, torch.tensor([[3.0, -0.2]]))
    assert after == state == ()
    assert list(unit.parameters()) == []
