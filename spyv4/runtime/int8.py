"""Convolutions in 8-bit integers, which suit spikes: a spike is a whole number already.

Weights are rounded to 8 bits, one scale an output channel. What comes in as spikes is exact; the
input of the update-rate convolution (current plus potential) is rounded to 256 steps over -8..8
times the layer's current (its root mean square by batch norm, or the threshold where that is
more), and cut there. On processors with 8-bit dot products (AVX512-VNNI, AMX)
this doubles the arithmetic that bfloat16 allows.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spyv4.errors import ArgumentError, RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4
from spyv4.network.table import LAYER_NAMES
from spyv4.norm import NormedConv2d

LEVELS = 256
RANGE = 8.0
"""Cutting costs more than wide steps do: at 6, heads of the full-size network are further off."""


class Int8Conv2d(nn.Module):
    """A convolution of 8-bit inputs and weights with 32-bit sums, in the place of `conv`.

        q = clamp(round(x / scale) + zero_point, 0, 255);  y = conv(scale (q - zero_point)) + bias

    Args:
        conv: the convolution, batch norm folded in.
        in_scale: value of one step of the input.
        zero_point: step that stands for 0.
        dtype: of the output.
    """

    def __init__(
        self, conv: nn.Conv2d, in_scale: float, zero_point: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        rounded, scale = round_weight(conv.weight.detach().float())
        self.in_scale = in_scale
        self.zero_point = zero_point
        self.dtype = dtype
        self.stride, self.padding = list(conv.stride), [int(p) for p in conv.padding]
        self.register_buffer("rounded", rounded)
        self.register_buffer("scale", scale)
        self.register_buffer("weight_zero_point", torch.zeros(len(scale), dtype=torch.int32))
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach().float())
        self.packed = self._pack()

    def _pack(self) -> Tensor:
        """The weights in the order that oneDNN wants."""
        packed: Tensor = torch.ops.onednn.qconv_prepack(
            self.rounded,
            self.scale,
            self.in_scale,
            self.zero_point,
            self.stride,
            self.padding,
            [1, 1],
            1,
            None,
        )
        return packed

    def forward(self, x: Tensor) -> Tensor:
        """Output [B, C, H, W] in the module's dtype."""
        steps = x.float() / self.in_scale + self.zero_point
        quantised = steps.round().clamp(0, LEVELS - 1).to(torch.uint8)
        # A compiled step holds plain weights, and packs them when it is compiled.
        packed = self._pack() if torch.compiler.is_exporting() else self.packed
        y: Tensor = torch.ops.onednn.qconv_pointwise(
            quantised.contiguous(memory_format=torch.channels_last),
            self.in_scale,
            self.zero_point,
            packed,
            self.scale,
            self.weight_zero_point,
            self.bias,
            self.stride,
            self.padding,
            [1, 1],
            1,
            1.0,
            0,
            self.dtype,
            "none",
            [],
            "",
        )
        return y


@torch.library.register_fake("onednn::qconv_prepack")  # type: ignore[untyped-decorator]
def _packed_shape(weight: Tensor, *_: object) -> Tensor:
    """What the compiler has to know of packing, which torch does not tell it."""
    return torch.empty_like(weight)


def round_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [C_out, C_in, k, k] in 8 bits, and the value of one step, [C_out]."""
    scale = (weight.abs().amax((1, 2, 3)) / (LEVELS // 2 - 1)).clamp(min=1e-12)
    return (weight / scale[:, None, None, None]).round().to(torch.int8), scale


def has_fast_int8() -> bool:
    """Whether the processor has 8-bit dot products."""
    features = torch.cpu.get_capabilities()
    return bool(features.get("avx512_vnni") or features.get("amx_int8"))


def quantise(model: SPYv4, dtype: torch.dtype) -> None:
    """Replace the spiking convolutions of a folded network by 8-bit ones, in place.

    Raises:
        ArgumentError: if it does not spike.
        RuntimeUnavailableError: if the processor has no 8-bit dot products.
    """
    if not has_fast_int8():
        raise RuntimeUnavailableError(
            "this processor has no 8-bit dot products (AVX512-VNNI or AMX); use --precision auto"
        )
    replace_convolutions(model, lambda conv, scale, zero: Int8Conv2d(conv, scale, zero, dtype))


def replace_convolutions(model: SPYv4, build: Callable[[nn.Conv2d, float, int], nn.Module]) -> None:
    """Put something else in the place of the spiking convolutions of a folded network.

    The first layer sees pixels, not spikes, and is computed once a picture: its input convolution
    stays as it is, as do the two heads.

    Args:
        model: is changed in place.
        build: makes what replaces a convolution, of the value of one step of its input and the
            step that stands for 0.

    Raises:
        ArgumentError: if it does not spike.
    """
    if not model.config.neuron.spikes:
        raise ArgumentError("8-bit convolutions need spikes, which the twin has none of")
    steps = rate_steps(model)
    for name, layer in model.spiking.items():
        if name != LAYER_NAMES[0]:
            layer.synapse.conv = build(layer.synapse.conv, 1.0, 0)  # type: ignore[assignment]
        for branch in layer.neuron.modules():
            if isinstance(branch, NormedConv2d):
                branch.conv = build(branch.conv, steps[name], LEVELS // 2)  # type: ignore[assignment]


def rate_steps(model: SPYv4) -> dict[str, float]:
    """Of a folded network: the value of one step of what a layer's update rate sees, by layer."""
    threshold = model.config.neuron.threshold
    spreads = {name: float(layer.synapse.spread) for name, layer in model.spiking.items()}
    return {name: 2 * RANGE * max(threshold, spread) / LEVELS for name, spread in spreads.items()}
