"""8-bit convolutions."""

import copy

import pytest
import torch
from torch import nn

from spyv4.errors import RuntimeUnavailableError
from spyv4.runtime import int8
from spyv4.runtime.int8 import Int8Conv2d, has_fast_int8, rate_steps
from spyv4.runtime.torch_runtime import TorchRuntime
from tests.helpers.tiny_model import firing_rates, tiny_model, wide_model

needs_int8 = pytest.mark.skipif(not has_fast_int8(), reason="no 8-bit dot products here")


def rounded_weight(conv: nn.Conv2d) -> torch.Tensor:
    """Weights rounded to 127 steps of the largest one of each output channel."""
    steps = conv.weight.detach().abs().amax((1, 2, 3), keepdim=True) / 127
    return (conv.weight.detach() / steps).round() * steps


@needs_int8
def test_spikes_are_convolved_exactly() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 16, 3, stride=2, padding=1)
    spikes = (torch.rand(2, 8, 13, 11) > 0.8).float()
    expected = torch.conv2d(spikes, rounded_weight(conv), conv.bias, stride=2, padding=1)
    torch.testing.assert_close(
        Int8Conv2d(conv, 1.0, 0, torch.float32)(spikes), expected.detach(), atol=1e-5, rtol=1e-5
    )


@needs_int8
def test_signed_input_is_rounded_to_steps_and_padded_with_zero() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, padding=1, bias=False)
    x = torch.randn(1, 4, 9, 9) * 3
    steps = ((x * 16).round().clamp(-128, 127)) / 16
    expected = torch.conv2d(steps, rounded_weight(conv), padding=1)
    torch.testing.assert_close(
        Int8Conv2d(conv, 1 / 16, 128, torch.float32)(x), expected, atol=1e-4, rtol=1e-4
    )


def test_steps_of_rates_follow_what_the_layer_receives() -> None:
    model = tiny_model()
    for number, layer in enumerate(model.spiking.values()):
        layer.synapse.norm.weight.data.fill_(0.3 * number)
        layer.synapse.norm.bias.data.fill_(0.4 * number)
    steps = list(rate_steps(model.fold()).values())
    # 256 steps over -8..8 times the root mean square, at least the threshold.
    assert steps == pytest.approx([max(1.0, 0.5 * number) / 16 for number in range(len(steps))])


@needs_int8
def test_rates_are_given_the_steps_of_their_layer() -> None:
    model = wide_model()
    steps = rate_steps(copy.deepcopy(model).fold())
    layers = TorchRuntime(model, torch.device("cpu"), precision="int8").model.spiking
    for name, layer in layers.items():
        scales = [c.in_scale for c in layer.neuron.modules() if isinstance(c, Int8Conv2d)]
        assert scales == pytest.approx([steps[name]], rel=0.01)  # what is known is in bfloat16
    assert steps["p4_out"] > 3 * steps["stem1"]


@needs_int8
def test_network_fires_as_it_does_in_float32() -> None:
    model = tiny_model()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    rates = []
    for precision in ("float32", "int8"):
        runtime = TorchRuntime(
            copy.deepcopy(model),
            torch.device("cpu"),
            precision=precision,  # type: ignore[arg-type]
        )
        rates.append(firing_rates(runtime, images).mean(0))
    assert rates[0].min() > 0.02
    torch.testing.assert_close(rates[0], rates[1], atol=0.05, rtol=0.0)


@needs_int8
def test_description_names_the_precision() -> None:
    runtime = TorchRuntime(tiny_model(), torch.device("cpu"), precision="int8")
    assert "int8" in runtime.description


def test_processor_without_dot_products_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "has_fast_int8", lambda: False)
    with pytest.raises(RuntimeUnavailableError, match="--precision auto"):
        TorchRuntime(tiny_model(), torch.device("cpu"), precision="int8")
