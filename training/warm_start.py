"""Starting a spiking network from its non-spiking twin, which may have fewer channels.

The twin's message of a channel is a value a = max(c, 0.1 c); a spike is 0 or 1. A spiking network
k times as wide says every value with k spikes of thresholds t_1 < ... < t_k:

    a ~ l_0 + sum over j of (l_j - l_{j-1}) [a > t_j],   t_j = (l_{j-1} + l_j) / 2,   t_j > 0

with k + 1 levels that are the best in least squares over the pictures (Lloyd 1982, Least Squares
Quantization in PCM). So the currents of its k channels are the twin's, scaled to have the threshold
at t_j; the steps l_j - l_{j-1} go into the weights that hear the channels, and what l_0 adds into
the means and biases behind them. The rates start open, and alike, for a neuron to be near its
current after one read.

Between the two there may be twins whose values have these levels while they are trained
(`spyv4.neurons.quantised_relu`), first as wide as the twin, then with a channel for every spike.
Each starts from the one before in the same way, and the spiking network from the last of them, with
the levels that were learned.
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from spyv4.config import ModelConfig
from spyv4.errors import CheckpointError
from spyv4.network.blocks import SpikingConv2d
from spyv4.network.spyv4 import SPYv4
from spyv4.network.table import IMAGE, ROWS, Row, times_as_wide
from spyv4.neurons import QuantisedReLU
from spyv4.norm import NormedConv2d
from spyv4.validation import require

QUANTISED = "quantised-relu"
OPEN_RATE = 2.0
"""Logit: a rate of 0.88."""
RATE_SPREAD = 0.1
"""Standard deviation of the logits of rates at the start."""
ROUNDS = 25
SAMPLES = 20_000
"""Values of a channel that its levels are found from."""
_LEAST = 1e-3


class Levels(NamedTuple):
    """How spikes say the values of a layer.

    Attributes:
        base: l_0, [C].
        steps: l_j - l_{j-1}, [C, k].
        thresholds: t_j, [C, k], at least a thousandth.
    """

    base: Tensor
    steps: Tensor
    thresholds: Tensor


@torch.no_grad()
def start_from_twin(model: SPYv4, twin: SPYv4, images: Tensor) -> None:
    """Give a network the weights of its twin, its thresholds matched.

    Args:
        model: not folded, of the same layers, spiking or of quantised units, as wide as the twin or
            a whole number of times as wide; changed in place.
        twin: not folded, in evaluation mode.
        images: some pictures of the training set, [B, 3, H, W], 0..1; more channels fire in more of
            them.

    Raises:
        CheckpointError: if the outputs of the two mean different things.
        ConfigError: if the width does not fit.
    """
    _check_alike(model.config, twin.config)
    spikes = _spikes_of_value(model.config, twin.config)
    if twin.config.neuron.kind == QUANTISED:
        levels = {name: _learned_levels(layer.neuron) for name, layer in twin.spiking.items()}
    else:
        levels = {name: find_levels(x, spikes) for name, x in _messages(twin, images).items()}
    times = times_as_wide(model.config.width_multiple, twin.config.width_multiple)
    # Spikes that one channel says together weigh what its own steps are.
    heard = levels if times == spikes else {k: _together(each) for k, each in levels.items()}
    for row in ROWS:
        own, given = model.spiking[row.name], twin.spiking[row.name]
        _start_synapse(own.synapse, given.synapse, _heard(row, heard), times)
        _start_neuron(own, levels[row.name])
    for head, output, taught in zip(model.config.heads, model.outputs, twin.outputs, strict=True):
        weight, base = _weights_of_spikes(taught.weight, heard[head.layer])
        output.weight.copy_(weight)
        cast("Tensor", output.bias).copy_(cast("Tensor", taught.bias) + base)


def _spikes_of_value(network: ModelConfig, twin: ModelConfig) -> int:
    """How many spikes say a value of the twin."""
    times = times_as_wide(network.width_multiple, twin.width_multiple)
    steps = 1 if network.neuron.spikes else network.neuron.steps
    require(times == 1 or steps == 1, "a wider network says a value in channels, with steps = 1")
    spikes = times * steps
    require(
        twin.neuron.kind != QUANTISED or spikes == twin.neuron.steps,
        f"a value of this twin is {twin.neuron.steps} spikes, not {spikes}: give the network a "
        f"width_multiple of {twin.width_multiple * twin.neuron.steps:g}",
    )
    return spikes


def _learned_levels(neuron: nn.Module) -> Levels:
    """Those of a layer of quantised units."""
    unit = cast("QuantisedReLU", neuron)
    shape = (unit.config.steps, unit.size)
    steps, gains = (value.exp().view(shape).T for value in (unit.log_step, unit.log_gain))
    return Levels(torch.zeros(unit.size), steps, unit.config.threshold / gains)


def _together(levels: Levels) -> Levels:
    """As a layer hears values of these levels that are not apart in spikes."""
    return levels._replace(steps=torch.ones_like(levels.base)[:, None])


def _start_neuron(own: SpikingConv2d, levels: Levels) -> None:
    """Thresholds of the twin's currents."""
    neuron, norm = own.neuron, cast("nn.BatchNorm2d", own.synapse.norm)
    if isinstance(neuron, QuantisedReLU):
        said = neuron.config.steps
        gains = neuron.config.threshold / levels.thresholds.reshape(-1, said)
        neuron.log_gain.copy_(gains.T.flatten().log())
        if said > 1:  # else they weigh in what hears them
            neuron.log_step.copy_(levels.steps.clamp(min=_LEAST).T.flatten().log())
        return
    open_rate = 1.0
    rate = getattr(neuron, "rate", None)
    if rate is not None:
        rate.mix.norm.weight.fill_(RATE_SPREAD)
        rate.mix.norm.bias.fill_(OPEN_RATE)
        open_rate = 1 / (1 + math.exp(-OPEN_RATE))
    scale = neuron.config.threshold / (levels.thresholds.flatten() * open_rate)
    norm.weight.mul_(scale)
    norm.bias.mul_(scale)


def find_levels(values: Tensor, spikes: int) -> Levels:
    """The best levels for every channel of [B, C, H, W] to be said by so many spikes."""
    flat = values.transpose(0, 1).flatten(1)
    flat = flat[:, :: max(1, flat.shape[1] // SAMPLES)]
    positive = flat.clamp(min=0)
    mean = positive.sum(1) / (positive > 0).sum(1).clamp(min=1)
    levels = mean[:, None] * (2 * torch.arange(spikes + 1) - 1).clamp(min=0) / spikes
    for _ in range(ROUNDS):
        said = (flat[:, None] > _between(levels)[..., None]).sum(1)
        for level in range(spikes + 1):
            here = said == level
            found = (flat * here).sum(1) / here.sum(1).clamp(min=1)
            levels[:, level] = torch.where(here.any(1), found, levels[:, level])
    return Levels(levels[:, 0], levels.diff(dim=1), _between(levels))


def _between(levels: Tensor) -> Tensor:
    """The thresholds; a neuron with no input must not fire."""
    return ((levels[:, 1:] + levels[:, :-1]) / 2).clamp(min=_LEAST)


def _check_alike(network: ModelConfig, twin: ModelConfig) -> None:
    """Raise `CheckpointError` where outputs would mean something else."""
    for name in ("class_names", "codec"):
        if getattr(network, name) != getattr(twin, name):
            raise CheckpointError(f"the twin has another {name} than the configured network")
    heads = [[(head.layer, len(head.anchors)) for head in each.heads] for each in (network, twin)]
    if heads[0] != heads[1]:
        raise CheckpointError("the twin has other heads than the configured network")


def _messages(twin: SPYv4, images: Tensor) -> dict[str, Tensor]:
    """The twin's, by layer."""
    state = twin.initial_state(len(images), (images.shape[2], images.shape[3]))
    return twin.step_from_current(twin.current(images), state)[2]


def _heard(row: Row, levels: dict[str, Levels]) -> Levels | None:
    """Those of what a layer hears; None of the image."""
    if row.inputs == (IMAGE,):
        return None
    heard = Levels(*map(torch.cat, zip(*(levels[name] for name in row.inputs), strict=True)))
    return Levels(*(x[len(x) // 2 :] for x in heard)) if row.kind == "half" else heard


def _start_synapse(
    own: NormedConv2d, given: NormedConv2d, heard: Levels | None, spikes: int
) -> None:
    """The twin's currents, each `spikes` times, from spikes instead of values."""
    weight, base = given.conv.weight, torch.zeros(len(given.conv.weight))
    if heard is not None:
        weight, base = _weights_of_spikes(weight, heard)
    own.conv.weight.copy_(weight.repeat_interleave(spikes, 0))
    for name, value in given.norm.state_dict().items():
        moved = value - base if name == "running_mean" else value
        wide = moved.repeat_interleave(spikes, 0) if value.ndim else moved
        own.norm.state_dict()[name].copy_(wide)


def _weights_of_spikes(weight: Tensor, heard: Levels) -> tuple[Tensor, Tensor]:
    """Kernels [O, k C, h, w] that hear spikes as `weight` hears values, and what l_0 adds, [O]."""
    wide = weight[:, :, None] * heard.steps[:, :, None, None]
    return wide.flatten(1, 2), (weight.sum((2, 3)) * heard.base).sum(1)
