"""Starting a spiking network from its non-spiking twin.

The twin's message of a channel is a value a = max(c, 0.1 c); the spiking network's is 0 or 1. The
best such message, in least squares over the pictures, is m where c is above m / 2, and 0 elsewhere,
with m the mean of the values above m / 2 (two levels of Lloyd 1982, Least Squares Quantization in
PCM). So the current of every channel is scaled to have the threshold at m / 2, and m goes into the
weights that hear the channel. The rates start open (`rate_bias`), for a neuron to be at its current
after one read.
"""

from typing import cast

import torch
from torch import Tensor, nn

from spyv4.errors import CheckpointError
from spyv4.network.spyv4 import SPYv4
from spyv4.network.table import IMAGE, ROWS

OPEN_RATE = 2.0
"""Logit: a rate of 0.88."""
ROUNDS = 12
_LEAST = 1e-3


@torch.no_grad()
def start_from_twin(model: SPYv4, twin: SPYv4, images: Tensor) -> None:
    """Give a spiking network the weights of its twin, its thresholds matched.

    Args:
        model: spiking and not folded, of the same layers; changed in place.
        twin: not folded, in evaluation mode.
        images: some pictures of the training set, [B, 3, H, W], 0..1; more channels fire in more of
            them.

    Raises:
        CheckpointError: if the two have other layers.
    """
    own, given = model.state_dict(), twin.state_dict()
    for name, value in given.items():
        if name not in own or own[name].shape != value.shape:
            raise CheckpointError(
                f"the twin's {name} has no place in the configured network; use the same width, "
                "classes and heads"
            )
    model.load_state_dict(given, strict=False)
    levels = _levels(twin, images)
    threshold = model.config.neuron.threshold
    for row in ROWS:
        layer = model.spiking[row.name]
        norm = cast("nn.BatchNorm2d", layer.synapse.norm)
        scale = threshold / (levels[row.name] / 2)
        norm.weight.mul_(scale)
        norm.bias.mul_(scale)
        if row.inputs != (IMAGE,):
            heard = torch.cat([levels[name] for name in row.inputs])
            if row.kind == "half":
                heard = heard[len(heard) // 2 :]
            layer.synapse.conv.weight.mul_(heard[:, None, None])
        rate = getattr(layer.neuron, "rate", None)
        if rate is not None:
            rate.mix.norm.bias.fill_(OPEN_RATE)
    for head, output in zip(model.config.heads, model.outputs, strict=True):
        output.weight.mul_(levels[head.layer][:, None, None])


def _levels(twin: SPYv4, images: Tensor) -> dict[str, Tensor]:
    """M of every channel, by layer."""
    messages: dict[str, Tensor] = {}
    hooks = [
        layer.neuron.register_forward_hook(
            lambda _module, _inputs, output, name=name: messages.__setitem__(name, output[0])
        )
        for name, layer in twin.spiking.items()
    ]
    try:
        state = twin.initial_state(len(images), (images.shape[2], images.shape[3]))
        twin.step(images, state)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: _two_levels(value) for name, value in messages.items()}


def _two_levels(values: Tensor) -> Tensor:
    """The upper level of every channel of [B, C, H, W], at least a thousandth."""
    flat = values.transpose(0, 1).flatten(1)
    positive = flat.clamp(min=0)
    level = positive.sum(1) / (positive > 0).sum(1).clamp(min=1)
    for _ in range(ROUNDS):
        above = flat > level[:, None] / 2
        level = (flat * above).sum(1) / above.sum(1).clamp(min=1)
        level = level.clamp(min=_LEAST)
    return level
