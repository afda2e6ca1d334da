"""Networks built from the paper's notation."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from spyv4.errors import ConfigError
from spyv4.network.blocks import SpikingConv2d, SpikingDense
from training.tasks.layers import LeakyReadout
from training.tasks.network import TaskNetwork
from training.tasks.notation import parse_network


def build(text: str, inputs: tuple[int, ...], neuron: str = "ltc") -> TaskNetwork:
    torch.manual_seed(0)
    return TaskNetwork(parse_network(text), inputs, neuron)  # type: ignore[arg-type]


def steps(network: TaskNetwork, inputs: Tensor) -> list[Tensor]:
    """The outputs of every step."""
    state, found = network.initial_state(inputs.shape[1]), []
    for x in inputs:
        out, state = network(x, state)
        found.append(out)
    return found


@pytest.mark.parametrize("neuron", ["ltc", "alif", "lif"])
@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ("6R-10I", (1,)),
        ("784-5D-6R-10I", (1, 28, 28)),
        ("196-5D-10I", (1, 28, 28)),  # means of 2 x 2 pixels
        ("[16,16]-[5D,4D]-6R-11I", (2, 16, 16)),
        ("ConvK3C4S1P1-MPK2S2-ConvK5C6S2P2-MPK2S2-5D-10I", (1, 28, 28)),
        ("2-6R-1", (2,)),
    ],
)
def test_every_kind_of_network_steps(text: str, inputs: tuple[int, ...], neuron: str) -> None:
    network = build(text, inputs, neuron)
    outputs = steps(network, torch.rand(3, 4, *inputs))
    assert outputs[-1].shape == (4, network.notation.readout.size)
    outputs[-1].square().sum().backward()
    assert all(p.grad is not None for name, p in network.named_parameters() if "synapse" in name)


def test_a_step_changes_nothing_but_hands_back_a_state() -> None:
    network = build("6R-10I", (3,))
    state = network.initial_state(2)
    before = [leaf.clone() for leaf in tree_leaves(state)]
    x = torch.rand(2, 3) + 1
    first, after = network(x, state)
    again, _ = network(x, state)
    assert first.equal(again)
    assert all(a.equal(b) for a, b in zip(tree_leaves(state), before, strict=True))
    assert not all(a.equal(b) for a, b in zip(tree_leaves(after), before, strict=True))


def test_sequences_of_a_batch_do_not_see_one_another() -> None:
    network = build("[16,16]-[5D,4D]-6R-11I", (2, 8, 8)).eval()
    inputs = 9 * torch.rand(5, 3, 2, 8, 8)
    together = steps(network, inputs)[-1]
    alone = torch.cat([steps(network, inputs[:, n : n + 1])[-1] for n in range(3)])
    torch.testing.assert_close(together, alone)
    assert not together[0].allclose(together[1])


def test_each_branch_sees_its_channel_alone() -> None:
    network = build("[16,16]-[5D,4D]-11I", (2, 8, 8))
    layer = network.layers["1"]
    x = 9 * torch.rand(1, 2, 16)
    spikes, _ = layer(x, layer.initial_state(1))  # type: ignore[operator]
    assert spikes.shape == (1, 9)
    assert 0 < spikes.sum() < 9
    silent, _ = layer(x * torch.tensor([1.0, 0.0])[:, None], layer.initial_state(1))  # type: ignore[operator]
    assert silent[:, :5].equal(spikes[:, :5])
    assert not silent[:, 5:].equal(spikes[:, 5:])


def test_inputs_are_means_of_blocks() -> None:
    layer = build("[4,4]-[5D,4D]-11I", (2, 6, 6)).layers["0"]
    x = torch.rand(1, 2, 6, 6)
    found, _ = layer(x, ())
    assert found.shape == (1, 2, 4)
    torch.testing.assert_close(found[0, 1, 2], x[0, 1, 3:6, 0:3].mean())


def test_recurrent_layers_hear_themselves_and_dense_ones_do_not() -> None:
    for letter, wide in (("R", 9), ("D", 3)):
        layer = build(f"6{letter}-10I", (3,)).layers["0"]
        assert isinstance(layer, SpikingDense)
        assert layer.synapse.in_features == wide
        state = layer.initial_state(1)
        x = torch.rand(1, 3) + 1
        heard, _ = layer(x, state._replace(spikes=torch.full((1, 6), 50.0)))
        assert heard.equal(layer(x, state)[0]) == (letter == "D")


def test_a_convolution_is_as_written() -> None:
    network = build("ConvK5C6S2P2-4D-10I", (3, 9, 9))
    conv = network.layers["0"].conv
    assert isinstance(conv, SpikingConv2d)
    assert conv.synapse.conv.weight.shape == (6, 3, 5, 5)
    assert (conv.synapse.conv.stride, conv.synapse.conv.padding) == ((2, 2), (2, 2))
    assert network.initial_state(2)["0"].u.shape == (2, 6, 5, 5)


def test_leaky_integrators_integrate() -> None:
    """By hand: o = o + r (w x + b - o), and r = 1 - exp(-1 / tau) at the start."""
    readout = LeakyReadout(1, 1, steps=4.0)
    weight, bias = readout.synapse.weight.item(), readout.synapse.bias.item()
    state, by_hand, rate = readout.initial_state(1), 0.0, 1 - math.exp(-1 / 4)
    for x in (1.0, 0.0, 2.0):
        out, state = readout(torch.tensor([[x]]), state)
        by_hand += rate * (weight * x + bias - by_hand)
        assert out.item() == pytest.approx(by_hand, rel=1e-5)
    out.sum().backward()
    assert readout.rate_logit.grad is not None


def test_a_dense_read_out_sees_potentials() -> None:
    network = build("2-6R-1", (2,))
    out, state = network(torch.rand(3, 2), network.initial_state(3))
    assert isinstance(network.readout, torch.nn.Linear)
    torch.testing.assert_close(out, network.readout(state["1"].neuron.u))


def test_an_lstm_takes_the_place_of_recurrent_neurons() -> None:
    network = build("2-6R-1", (2,), "lstm")
    cell = torch.nn.LSTMCell(2, 6)
    cell.load_state_dict(network.layers["1"].cell.state_dict())
    state = (torch.zeros(3, 6), torch.zeros(3, 6))
    inputs = torch.rand(4, 3, 2)
    for x in inputs:
        state = cell(x, state)
    torch.testing.assert_close(steps(network, inputs)[-1], network.readout(state[0]))
    with pytest.raises(ConfigError, match="lstm needs a recurrent layer"):
        build("6D-10I", (2,), "lstm")
    dense = build("5D-6R-10I", (2,), "lstm").layers["0"]
    found, _ = dense(torch.rand(50, 2), dense.initial_state(50))  # type: ignore[operator]
    assert len(found.unique()) > 2  # what does not spike has more than two values


@pytest.mark.parametrize(
    ("text", "inputs", "words"),
    [
        ("ConvK3C4S1P1-10I", (1,), "ConvK3C4S1P1 needs pictures"),
        ("ConvK3C4S1P0-10I", (1, 8, 8), "half of it as padding: P1 for K3"),
        ("ConvK4C4S1P2-10I", (1, 8, 8), "odd kernel"),
        ("MPK9S2-5D-10I", (1, 8, 8), "pictures of at least 9 pixels"),
        ("783-5D-10I", (1, 28, 28), "inputs 783 do not fit steps of shape"),
        ("3-5D-10I", (2,), "inputs 3 do not fit"),
        ("[1024,1024]-[5D,5D]-10I", (1, 28, 28), "do not fit"),
        ("[16,4]-[5D,5D]-10I", (2, 8, 8), "do not fit"),
        ("[64,64]-[5D,5D]-10I", (128,), "do not fit"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, inputs: tuple[int, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(text, inputs)


def test_the_papers_networks_fit_their_tasks() -> None:
    for name, inputs in (
        ("s-mnist", (1,)),
        ("r-mnist", (1, 28, 28)),
        ("mnist", (1, 28, 28)),
        ("dvs-gesture-shallow", (2, 128, 128)),
    ):
        from training.tasks.notation import NETWORKS

        network = build(NETWORKS[name], inputs)
        with torch.no_grad():
            out, _ = network.eval()(torch.rand(1, *inputs), network.initial_state(1))
        assert out.shape == (1, network.notation.readout.size)
