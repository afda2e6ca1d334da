"""How the layers are wired: what each receives, from what the others send."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from spyv4.config import NeuronConfig
from spyv4.layers.conv import SpikingConv2d
from spyv4.models.spyv4 import LAYER_NAMES, flatten_spikes
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
            watch(name.split(".", 1)[1], module.conv)
    watch("head_p5", model.neck.head_p5)
    watch("head_p4", model.neck.head_p4)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, state = model.run(images, 2)
        _, _, spikes = model.step_from_current(model.current(images), state)
    return inputs, dict(zip(LAYER_NAMES, flatten_spikes(spikes), strict=True))


def test_every_layer_receives_what_the_reference_says(
    wiring: tuple[dict[str, Tensor], dict[str, Tensor]],
) -> None:
    inputs, sent = wiring

    def pooled(block: str) -> Tensor:
        return functional.max_pool2d(torch.cat((sent[f"{block}.a"], sent[f"{block}.d"]), 1), 2)

    expected = {
        "stem2": sent["stem1"],
        "csp1.a": sent["stem2"],
        "csp2.a": pooled("csp1"),
        "csp3.a": pooled("csp2"),
        "deep": pooled("csp3"),
        "p5": sent["deep"],
        "p5_out": sent["p5"],
        "head_p5": sent["p5_out"],
        "lateral": sent["p5"],
        "p4_out": torch.cat((sent["lateral"], sent["csp3.d"]), 1),
        "head_p4": sent["p4_out"],
    }
    for block in ("csp1", "csp2", "csp3"):
        a = sent[f"{block}.a"]
        expected[f"{block}.b"] = a[:, a.shape[1] // 2 :]
        expected[f"{block}.c"] = sent[f"{block}.b"]
        expected[f"{block}.d"] = torch.cat((sent[f"{block}.c"], sent[f"{block}.b"]), 1)
    assert set(expected) == set(inputs) - {"stem1"}
    for name, message in expected.items():
        assert torch.equal(inputs[name], message), name


@pytest.mark.parametrize("fusion", ["sum", "concat"])
def test_spiking_convolution_is_the_equation(fusion: str) -> None:
    """c = BN(conv x), upsampled before the neuron; kappa = sigmoid(BN(conv3x3(c + u)))."""
    torch.manual_seed(0)
    layer = SpikingConv2d(3, 4, 1, NeuronConfig(fusion=fusion), upsample=2).eval()  # type: ignore[arg-type]
    x, u = torch.randn(2, 3, 5, 6), torch.rand(2, 4, 10, 12)
    with torch.no_grad():
        spikes, state = layer(x, LTCState(u))
        plain = functional.conv2d(x, layer.conv.weight)
        plain = plain / (1 + layer.norm.eps) ** 0.5 + 0.3
        current = plain.repeat_interleave(2, 2).repeat_interleave(2, 3)
        fused = current + u if fusion == "sum" else torch.cat((current, u), 1)
        rate = functional.conv2d(fused, layer.rate_conv.weight, padding=1)
        kappa = (rate / (1 + layer.rate_norm.eps) ** 0.5 + 1).sigmoid()
        before = u + kappa * (current - u)
    assert torch.equal(spikes, (before > 1).float())
    assert spikes.any()
    torch.testing.assert_close(state.u, torch.where(before > 1, 0.0, before))


@pytest.mark.parametrize(
    ("kernel", "stride", "upsample", "size"),
    [(3, 2, 1, (7, 9)), (1, 1, 2, (4, 5)), (3, 1, 1, (6, 7))],
)
def test_state_has_the_size_of_the_output(
    kernel: int, stride: int, upsample: int, size: tuple[int, int]
) -> None:
    layer = SpikingConv2d(2, 3, kernel, NeuronConfig(), stride=stride, upsample=upsample)
    state = layer.initial_state(2, size, like=layer.conv.weight)
    spikes, _ = layer(torch.zeros(2, 2, *size), state)
    assert spikes.shape == state.u.shape == (2, 3, *layer.output_size(size))
