import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from spyv4 import LAYER_NAMES, SPYv4, model_preset
from spyv4.activity import RASTER_NEURONS, sampled_neurons, summarise
from spyv4.bench import describe
from spyv4.errors import ConfigError
from spyv4.network.blocks import SpikingConv2d
from spyv4.network.readout import initial_readout, leaky_readout
from tests.helpers.tiny_model import pictures, same, tiny_config, tiny_model

PAPER_LAYERS = {
    "stem1": (32, 208, 208),
    "stem2": (64, 104, 104),
    "csp1_a": (64, 104, 104),
    "csp1_b": (32, 104, 104),
    "csp1_c": (32, 104, 104),
    "csp1_d": (64, 104, 104),
    "csp2_a": (128, 52, 52),
    "csp2_b": (64, 52, 52),
    "csp2_c": (64, 52, 52),
    "csp2_d": (128, 52, 52),
    "csp3_a": (256, 26, 26),
    "csp3_b": (128, 26, 26),
    "csp3_c": (128, 26, 26),
    "csp3_d": (256, 26, 26),
    "deep": (512, 13, 13),
    "p5": (256, 13, 13),
    "p5_out": (512, 13, 13),
    "lateral": (128, 26, 26),
    "p4_out": (256, 26, 26),
}


def close(one: object, other: object) -> None:
    for a, b in zip(tree_leaves(one), tree_leaves(other), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def model() -> SPYv4:
    return tiny_model()


@pytest.fixture(autouse=True)
def no_gradients() -> object:
    with torch.no_grad():
        yield


def test_paper_network_has_the_papers_size() -> None:
    facts = describe(model_preset("spyv4"), (416, 416))
    assert facts["spiking_layers"] == 19
    assert facts["neurons"] == 6_186_752
    assert 13_900_000 < facts["parameters"] < 14_000_000
    assert facts["gflop_per_read"] == pytest.approx(17.2, abs=0.05)
    with torch.device("meta"):
        network = SPYv4(model_preset("spyv4"))
    assert sum(p.numel() for p in network.parameters()) == facts["parameters"]
    spiking = [m for m in network.modules() if isinstance(m, SpikingConv2d)]
    assert len(spiking) == 19


def test_paper_network_has_the_papers_layers() -> None:
    with torch.device("meta"):
        network = SPYv4(model_preset("spyv4"))
        state = network.initial_state(1, (416, 416))
        current = network.current(torch.empty(1, 3, 416, 416))
        maps, _, spikes = network.step_from_current(current, state)
    shapes = {name: tuple(s.shape[1:]) for name, s in spikes.items()}
    assert shapes == PAPER_LAYERS
    assert tuple(shapes) == LAYER_NAMES
    assert [m.shape for m in maps] == [(1, 75, 13, 13), (1, 75, 26, 26)]
    assert network.strides == (32, 16)
    sizes = [
        (layer.synapse.conv.kernel_size[0], layer.synapse.conv.stride[0])
        for layer in network.layers.values()
    ]
    assert sizes == [
        *[(3, 2), (3, 2)],
        *[(3, 1), (3, 1), (3, 1), (1, 1)] * 3,
        *[(3, 1), (1, 1), (3, 1), (1, 1), (3, 1)],
    ]


def test_concatenation_costs_what_the_paper_says() -> None:
    config = tiny_config(width_multiple=1.0, neuron={"fusion": "concat"})
    assert describe(config, (64, 64))["parameters"] == pytest.approx(22e6, rel=0.03)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_message_between_spiking_layers_is_binary(dtype: torch.dtype) -> None:
    network = tiny_model().to(dtype)
    seen: dict[str, list[Tensor]] = {}
    for name, module in network.named_modules():
        if isinstance(module, SpikingConv2d) or name.startswith("heads."):
            hooked = module.synapse if isinstance(module, SpikingConv2d) else module

            def keep(module: nn.Module, inputs: tuple[Tensor], _: Tensor, name: str = name) -> None:
                seen.setdefault(name, []).append(inputs[0])

            hooked.register_forward_hook(keep)
    state = network.initial_state(2, (64, 64))
    for _ in range(4):
        _, state = network.step(pictures().to(dtype), state)
    assert len(seen.pop("layers.stem1")) == 4
    assert len(seen) == 18 + 2
    for name, messages in seen.items():
        assert len(messages) == 4
        for message in messages:
            assert message.dtype == dtype
            assert ((message == 0) | (message == 1)).all(), name
        assert any(message.any() for message in messages), name
        assert not all(message.all() for message in messages), name


@pytest.mark.parametrize("readout", ["last", "leaky"])
def test_run_is_that_many_steps_split_anywhere(readout: str) -> None:
    network = tiny_model(readout=readout)
    images, reads = pictures(), 5
    state = network.initial_state(2, (64, 64))
    for _ in range(reads):
        maps, state = network.step(images, state)
    whole = network.run(images, reads)
    assert same(whole, (maps, state))
    for first in range(1, reads):
        _, middle = network.run(images, first)
        assert same(network.run(images, reads - first, middle), whole)
    assert not same(network.run(images, 1)[0], whole[0])
    assert same(network(images, state), network.step(images, state))


def test_run_needs_a_read(model: SPYv4) -> None:
    with pytest.raises(ConfigError, match="reads must be a whole number from 1"):
        model.run(pictures(), 0)


@pytest.mark.parametrize(
    "changes", [{}, {"readout": "leaky"}, {"neuron": {"kind": "adaptive-ltc"}}]
)
def test_batch_is_a_loop_over_pictures(changes: dict[str, object]) -> None:
    network = tiny_model(**changes)
    images = pictures(3)
    maps, state = network.run(images, 3)
    for index in range(3):
        alone, own = network.run(images[index : index + 1], 3)
        close(alone, [m[index : index + 1] for m in maps])
        close(own, tree_map(lambda t, i=index: t[i : i + 1], state))


def test_same_picture_gives_the_same_answer(model: SPYv4) -> None:
    first = model.run(pictures(), 3)
    model.run(pictures(seed=5), 2)
    assert same(model.run(pictures(), 3), first)


def test_step_leaves_its_arguments_alone(model: SPYv4) -> None:
    images = pictures()
    _, state = model.run(images, 2)
    before = tree_map(Tensor.clone, state)
    model.step(images, state)
    assert same(before, state)
    assert same(images, pictures())


def test_other_sizes_work_square_or_not(model: SPYv4) -> None:
    maps, state = model.run(pictures(1, (320, 416)), 1)
    assert [m.shape for m in maps] == [(1, 75, 10, 13), (1, 75, 20, 26)]
    assert state.layers["stem1"].u.shape[2:] == (160, 208)


def test_size_off_the_grid_is_refused(model: SPYv4) -> None:
    for size in ((65, 64), (0, 64), (-32, 64)):
        with pytest.raises(ConfigError, match="multiples of 32"):
            model.initial_state(1, size)
    with pytest.raises(ConfigError, match="multiples of 32"):
        model.run(pictures(1, (64, 80)), 1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"readout": "leaky"},
        {"neuron": {"kind": "adaptive-ltc"}},
        {"neuron": {"fusion": "concat"}},
        {"neuron": {"kind": "adaptive-ltc", "fusion": "concat"}},
        {"neuron": {"kind": "lif"}},
        {"neuron": {"kind": "adaptive-lif"}},
    ],
)
def test_folding_changes_nothing_beyond_rounding(changes: dict[str, object]) -> None:
    plain, folded = tiny_model(**changes), tiny_model(**changes).fold()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert (plain.folded, folded.folded) == (False, True)
    double = pictures().double()
    one, _ = plain.double().run(double, 4)
    other, _ = folded.double().run(double, 4)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert same(folded.fold().run(double, 4)[0], other)


def test_width_without_channels_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves no channels"):
        SPYv4(tiny_config(width_multiple=0.001))


def test_gradient_reaches_every_parameter_within_three_reads() -> None:
    network = tiny_model().train()
    with torch.enable_grad():
        maps, _ = network.run(pictures(), 3)
        sum(m.square().mean() for m in maps).backward()  # type: ignore[union-attr]
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_leaky_readout_is_the_explicit_weighted_mean() -> None:
    rate, reads = 0.3, 6
    raw = torch.randn(reads, 2, 4, 1, 1, dtype=torch.float64)
    state = initial_readout([(2, 4, 1, 1)] * 2, torch.device("cpu"))
    for read in range(1, reads + 1):
        maps, state = leaky_readout((raw[read - 1], 2 * raw[read - 1]), state, rate)
        weights = [(1 - rate) ** (read - k) for k in range(1, read + 1)]
        mean = sum(w * raw[k] for k, w in enumerate(weights)) / sum(weights)
        torch.testing.assert_close(maps[0], mean)
        torch.testing.assert_close(maps[1], 2 * mean)
        if read == 1:
            torch.testing.assert_close(maps[0], raw[0])


def test_leaky_network_averages_what_the_other_reads_out() -> None:
    last, leaky = tiny_model(), tiny_model(readout="leaky", readout_rate=0.25)
    leaky.load_state_dict(last.state_dict())
    state, own = last.initial_state(1, (64, 64)), leaky.initial_state(1, (64, 64))
    sums, weight = torch.zeros(()), 0.0
    for _ in range(3):
        maps, state = last.step(pictures(1), state)
        averaged, own = leaky.step(pictures(1), own)
        sums, weight = 0.75 * sums + 0.25 * maps[0], 0.75 * weight + 0.25
        torch.testing.assert_close(averaged[0], sums / weight, rtol=1e-4, atol=1e-5)


def test_activity_counts_the_spikes(model: SPYv4) -> None:
    state = model.run(pictures(), 2)[1]
    _, _, spikes = model.step_from_current(model.current(pictures()), state)
    rates, _, rasters, heat = summarise(spikes)
    flat = tuple(spikes.values())
    assert rates.shape == (2, 19)
    assert rasters.shape == (2, 19, RASTER_NEURONS)
    torch.testing.assert_close(heat.mean(dim=(2, 3)), rates)
    for picture, layer in itertools.product(range(2), range(19)):
        tensor = flat[layer][picture]
        assert rates[picture, layer].item() == pytest.approx(tensor.mean().item())
        channel, row, column = sampled_neurons(layer, *tensor.shape)
        count = min(tensor.numel(), RASTER_NEURONS)
        assert len(set(zip(channel, row, column, strict=True))) == count
        expected = [tensor[c, r, k].item() for c, r, k in zip(channel, row, column, strict=True)]
        assert rasters[picture, layer].tolist() == expected + [0.0] * (RASTER_NEURONS - count)


def test_a_head_of_no_layer_is_refused() -> None:
    heads = [{"layer": "p6_out", "anchors": [[8, 8]]}]
    with pytest.raises(ConfigError, match="no layer 'p6_out' to read a head from; choose one of:"):
        SPYv4(tiny_config(heads=heads))
