"""Tiny networks whose neurons fire, for tests."""

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from spyv4 import SPYv4, model_preset
from spyv4.config import ModelConfig
from spyv4.runtime.base import Runtime
from spyv4.validation import from_mapping, to_mapping


def tiny_config(**changes: object) -> ModelConfig:
    """Width 1/8, 64 x 64 pixels."""
    values = to_mapping(model_preset("spyv4"))
    values |= {"name": "tiny", "width_multiple": 0.125, "image_size": (64, 64), "reads": 2}
    values |= {"codec": "scaled"}
    return from_mapping(ModelConfig, values | changes)


def tiny_model(seed: int = 0, **changes: object) -> SPYv4:
    """A network of random parameters whose batch norms know the statistics of random pictures.

    Without that, next to no neuron of a fresh network fires at inference.
    """
    torch.manual_seed(seed)
    model = SPYv4(tiny_config(**changes)).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for head in model.heads:
            head.weight.normal_(std=0.3)
        model.run(torch.rand(4, 3, *model.config.image_size), reads=3)
    return model.eval()


def wide_model(seed: int = 0, **changes: object) -> SPYv4:
    """One whose layers have currents of ever larger size, from 1 to 5 times the threshold."""
    model = tiny_model(seed, **changes)
    with torch.no_grad():
        for number, layer in enumerate(model.spiking.values()):
            layer.synapse.norm.weight *= 1 + 4 * number / (len(model.spiking) - 1)
    return model


def pictures(batch: int = 2, size: tuple[int, int] = (64, 64), seed: int = 0) -> Tensor:
    """Random images, RGB [batch, 3, height, width] in 0..1."""
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def same(one: object, other: object) -> bool:
    """Whether two trees of tensors are equal to the last bit."""
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def firing_rates(runtime: Runtime, images: Tensor, reads: int = 3) -> Tensor:
    """Firing rates of the last of `reads` reads, [B, layers], on the CPU."""
    height, width = images.shape[-2:]
    state = runtime.initial_state(len(images), (height, width))
    prepared = runtime.prepare(images)
    for _ in range(reads):
        result = runtime.step(prepared, state, activity=True)
        state = result.state
    assert result.activity is not None
    return result.activity.firing_rates.cpu()
