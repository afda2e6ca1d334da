"""The layers of SPYv4, one row each (reference section 1); everything else is read off it."""

from typing import Literal, NamedTuple

Kind = Literal["conv", "half", "pool", "up"]
IMAGE = "image"
IMAGE_CHANNELS = 3


class Row(NamedTuple):
    """One spiking layer.

    Attributes:
        name: of the layer.
        kind: `conv` convolves its input; `half` the second half of its input's channels; `pool`
            its input max-pooled 2x2; `up` convolves, and repeats its current 2x2 for the neurons.
        inputs: the layers, or the image, whose messages are concatenated.
        channels: of the paper's network, at `width_multiple` 1.
        kernel: side in pixels.
        stride: in pixels of the input.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    channels: int
    kernel: int
    stride: int = 1


# Concatenation, halving and max-pooling keep every message in {0, 1}; addition would not.
ROWS = (
    Row("stem1", "conv", (IMAGE,), 32, 3, 2),
    Row("stem2", "conv", ("stem1",), 64, 3, 2),
    Row("csp1_a", "conv", ("stem2",), 64, 3),
    Row("csp1_b", "half", ("csp1_a",), 32, 3),
    Row("csp1_c", "conv", ("csp1_b",), 32, 3),
    Row("csp1_d", "conv", ("csp1_c", "csp1_b"), 64, 1),
    Row("csp2_a", "pool", ("csp1_a", "csp1_d"), 128, 3),
    Row("csp2_b", "half", ("csp2_a",), 64, 3),
    Row("csp2_c", "conv", ("csp2_b",), 64, 3),
    Row("csp2_d", "conv", ("csp2_c", "csp2_b"), 128, 1),
    Row("csp3_a", "pool", ("csp2_a", "csp2_d"), 256, 3),
    Row("csp3_b", "half", ("csp3_a",), 128, 3),
    Row("csp3_c", "conv", ("csp3_b",), 128, 3),
    Row("csp3_d", "conv", ("csp3_c", "csp3_b"), 256, 1),
    Row("deep", "pool", ("csp3_a", "csp3_d"), 512, 3),
    Row("p5", "conv", ("deep",), 256, 1),
    Row("p5_out", "conv", ("p5",), 512, 3),
    Row("lateral", "up", ("p5",), 128, 1),
    Row("p4_out", "conv", ("lateral", "csp3_d"), 256, 3),
)
LAYER_NAMES = tuple(row.name for row in ROWS)
CHANNELS = {IMAGE: IMAGE_CHANNELS} | {row.name: row.channels for row in ROWS}


def _strides() -> dict[str, int]:
    strides = {IMAGE: 1}
    for row in ROWS:
        stride = strides[row.inputs[0]] * row.stride
        strides[row.name] = stride * 2 if row.kind == "pool" else stride
        if row.kind == "up":
            strides[row.name] //= 2
    return strides


STRIDES = _strides()
"""Pixels of the image from one neuron to the next, by layer."""


def in_channels(row: Row) -> int:
    """Channels of what a layer convolves, at `width_multiple` 1."""
    channels = sum(CHANNELS[name] for name in row.inputs)
    return channels // 2 if row.kind == "half" else channels
