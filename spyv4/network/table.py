"""The layers of SPYv4, one row each (reference section 1); everything else is read off it."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from spyv4.errors import ConfigError

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


def layer_channels(width_multiple: float) -> dict[str, int]:
    """Channels of every layer, and of the image, of a network of some width.

    Args:
        width_multiple: channels relative to the paper's network, > 0.

    Raises:
        ConfigError: if that leaves no channels.
    """
    stem = CHANNELS[LAYER_NAMES[0]]
    width = round(stem * width_multiple)
    if width < 1:
        raise ConfigError(
            f"width_multiple {width_multiple} leaves no channels; use at least {1 / stem}"
        )
    scaled = {name: CHANNELS[name] * width // stem for name in LAYER_NAMES}
    return {IMAGE: IMAGE_CHANNELS} | scaled


def times_as_wide(width_multiple: float, twin_width_multiple: float) -> int:
    """How many channels of a network stand for one of its twin, which may be narrower.

    Args:
        width_multiple: of the network.
        twin_width_multiple: of its twin.

    Raises:
        ConfigError: if that is no whole number, the same in all layers.
    """
    own, given = layer_channels(width_multiple), layer_channels(twin_width_multiple)
    times = {own[name] / given[name] for name in LAYER_NAMES}
    if len(times) > 1 or not min(times).is_integer():
        raise ConfigError(
            f"the twin's width_multiple of {twin_width_multiple:g} does not go into the network's, "
            f"{width_multiple:g}; take a twin of the same width, or of a half or a third of it"
        )
    return int(min(times))


def in_channels(row: Row, channels: Mapping[str, int]) -> int:
    """Channels of what a layer convolves, with `channels` as `layer_channels` has them."""
    total = sum(channels[name] for name in row.inputs)
    return total // 2 if row.kind == "half" else total
