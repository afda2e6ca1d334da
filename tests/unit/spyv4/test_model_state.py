"""The network's state: a value that fits its network and its pictures, or is refused."""

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from spyv4 import SPYv4
from spyv4.errors import StateShapeError
from spyv4.network.spyv4 import SPYv4State
from tests.helpers.tiny_model import pictures, same, tiny_model


@pytest.fixture(scope="module")
def model() -> SPYv4:
    return tiny_model()


@pytest.fixture(autouse=True)
def no_gradients() -> object:
    with torch.no_grad():
        yield


def test_state_of_other_pictures_is_refused(model: SPYv4) -> None:
    for other in (
        model.initial_state(3, (64, 64)),
        model.initial_state(2, (64, 96)),
        tiny_model(width_multiple=0.25).initial_state(2, (64, 64)),
    ):
        with pytest.raises(StateShapeError, match="does not fit an input current of shape"):
            model.step(pictures(2), other)
    deep = model.initial_state(2, (64, 64))
    other = model.initial_state(1, (64, 64)).layers
    wrong = deep._replace(layers=deep.layers | {"p4_out": other["p4_out"]})
    with pytest.raises(StateShapeError):
        model.step(pictures(2), wrong)


def test_state_of_another_neuron_is_refused(model: SPYv4) -> None:
    adaptive = tiny_model(neuron={"kind": "adaptive-ltc"})
    for network, other in ((model, adaptive), (adaptive, model)):
        with pytest.raises(StateShapeError, match="LTCState"):
            network.step(pictures(2), other.initial_state(2, (64, 64)))


def test_state_without_the_readout_of_the_network_is_refused(model: SPYv4) -> None:
    leaky = tiny_model(readout="leaky")
    for network, other in ((model, leaky), (leaky, model)):
        with pytest.raises(StateShapeError, match="read-out"):
            network.step(pictures(2), other.initial_state(2, (64, 64)))


def test_initial_state_is_rest(model: SPYv4) -> None:
    leaves = tree_leaves(model.initial_state(2, (64, 64)))
    assert len(leaves) == 19
    assert not any(leaf.any() for leaf in leaves)


def test_initial_state_is_random_only_with_a_generator(model: SPYv4) -> None:
    def drawn(seed: int) -> SPYv4State:
        return model.initial_state(2, (64, 64), generator=torch.Generator().manual_seed(seed))

    assert same(drawn(1), drawn(1))
    assert not same(drawn(1), drawn(2))
    u = drawn(1).layers["stem1"].u
    assert u.min() >= 0
    assert u.max() <= 1
    assert u.mean() == pytest.approx(0.5, abs=0.02)
    adaptive = tiny_model(neuron={"kind": "adaptive-ltc"})
    state = adaptive.initial_state(1, (64, 64), generator=torch.Generator().manual_seed(0))
    assert not state.layers["stem1"].b.any()


def test_state_is_never_in_the_module(model: SPYv4) -> None:
    names = set(model.state_dict())
    model.run(pictures(), 2)
    assert set(model.state_dict()) == names
    assert not any(name.split(".")[-1] in {"u", "b", "spikes"} for name in names)
    allowed = {"running_mean", "running_var", "num_batches_tracked"}
    assert {name.split(".")[-1] for name, _ in model.named_buffers()} == allowed
    for module in model.modules():
        tensors = [v for v in vars(module).values() if isinstance(v, Tensor)]
        assert tensors == []
