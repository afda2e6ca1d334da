"""How the layers are wired: what each receives, from what the others send."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spyv4.activity import summarise
from spyv4.config import NeuronConfig
from spyv4.network.blocks import SpikingConv2d
from spyv4.network.table import LAYER_NAMES
from spyv4.neurons.ltc import LTCState
from tests.helpers.tiny_model import tiny_model


@pytest.fixture(scope="module")
def wiring() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs of all convolutions and spikes of all layers, at the third read."""
    model = tiny_model()
    inputs: dict[str, Tensor] = {}

    def watch(name: str, module: nn.Module) -> None:
        def keep(_: nn.Module, received: tuple[Tensor], __: Tensor) -> None:
            inputs[name] = received[0]

        module.register_forward_hook(keep)

    for name, module in model.named_modules():
        if isinstance(module, SpikingConv2d):
            watch(name.split(".", 1)[1], module.synapse)
    watch("head_p5", model.heads[0])
    watch("head_p4", model.heads[1])
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, state = model.run(images, 2)
        _, _, spikes = model.step_from_current(model.current(images), state)
    return inputs, spikes


def test_every_layer_receives_what_the_reference_says(
    wiring: tuple[dict[str, Tensor], dict[str, Tensor]],
) -> None:
    inputs, sent = wiring

    def pooled(block: str) -> Tensor:
        return functional.max_pool2d(torch.cat((sent[f"{block}_a"], sent[f"{block}_d"]), 1), 2)

    expected = {
        "stem2": sent["stem1"],
        "csp1_a": sent["stem2"],
        "csp2_a": pooled("csp1"),
        "csp3_a": pooled("csp2"),
        "deep": pooled("csp3"),
        "p5": sent["deep"],
        "p5_out": sent["p5"],
        "head_p5": sent["p5_out"],
        "lateral": sent["p5"],
        "p4_out": torch.cat((sent["lateral"], sent["csp3_d"]), 1),
        "head_p4": sent["p4_out"],
    }
    for block in ("csp1", "csp2", "csp3"):
        a = sent[f"{block}_a"]
        expected[f"{block}_b"] = a[:, a.shape[1] // 2 :]
        expected[f"{block}_c"] = sent[f"{block}_b"]
        expected[f"{block}_d"] = torch.cat((sent[f"{block}_c"], sent[f"{block}_b"]), 1)
    assert set(expected) == set(inputs) - {"stem1"}
    for name, message in expected.items():
        assert torch.equal(inputs[name], message), name


def test_message_rates_are_those_of_what_the_layers_receive(
    wiring: tuple[dict[str, Tensor], dict[str, Tensor]],
) -> None:
    inputs, sent = wiring
    rates = summarise(sent).message_rates
    assert (rates[:, 0] == 1).all()
    for index, name in enumerate(LAYER_NAMES[1:], start=1):
        torch.testing.assert_close(rates[:, index], inputs[name].mean((1, 2, 3)))
    assert rates.min() > 0


@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_spiking_convolution_is_the_equation(fusion: str) -> None:
    """c = BN(conv x), upsampled before the neuron; kappa = sigmoid(BN(conv3x3(c + u)))."""
    torch.manual_seed(0)
    layer = SpikingConv2d(3, 4, 1, NeuronConfig(fusion=fusion), upsample=2).eval()  # type: ignore[arg-type]
    x, u = torch.randn(2, 3, 5, 6), torch.rand(2, 4, 10, 12)
    with torch.no_grad():
        spikes, state = layer(x, LTCState(u))
        plain = functional.conv2d(x, layer.synapse.conv.weight)
        plain = plain / (1 + layer.synapse.norm.eps) ** 0.5 + 0.3
        current = plain.repeat_interleave(2, 2).repeat_interleave(2, 3)
        fused = current + u if fusion == "sum" else torch.cat((current, u), 1)
        rate = functional.conv2d(fused, layer.neuron.rate.mix.conv.weight, padding=1)
        kappa = (rate / (1 + layer.neuron.rate.mix.norm.eps) ** 0.5 + 1).sigmoid()
        before = u + kappa * (current - u)
    assert torch.equal(spikes, (before > 1).float())
    assert spikes.any()
    torch.testing.assert_close(state.u, torch.where(before > 1, 0.0, before))
