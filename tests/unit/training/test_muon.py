"""Muon: what it orthogonalises, and what it leaves to AdamW."""

import copy

import torch
from torch import nn

from spyv4.config import ModelConfig
from spyv4.network.spyv4 import SPYv4
from training.config import OptimizerConfig
from training.muon import Muon, orthogonal
from training.optimisation import build_optimizer


def _layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 1))


def _step(layers: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    layers(torch.randn(2, 3, 9, 9)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def test_singular_values_come_near_one_and_vectors_stay() -> None:
    torch.manual_seed(0)
    for shape in ((3, 6, 40), (3, 40, 6)):
        matrices = torch.randn(shape)
        found = orthogonal(matrices).float()
        values = torch.linalg.svdvals(found)
        assert values.min() > 0.6
        assert values.max() < 1.3
        u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
        cosine = nn.functional.cosine_similarity(found.flatten(1), (u @ vh).flatten(1))
        assert cosine.min() > 0.95


def test_a_step_of_a_kernel_is_as_large_as_adamws() -> None:
    layers = _layers()
    kernel = layers[1].weight
    before = kernel.detach().clone()
    optimizer = Muon([{"params": [kernel], "weight_decay": 0.0, "orthogonal": True}], 0.01)
    _step(layers, optimizer)
    root_mean_square = (kernel - before).square().mean().sqrt().item()
    assert 0.7 * 0.2 * 0.01 < root_mean_square < 1.3 * 0.2 * 0.01


def test_kernels_decay_by_themselves() -> None:
    layers = _layers()
    kernel = layers[1].weight
    plain, decaying = (
        Muon([{"params": [kernel], "weight_decay": decay, "orthogonal": True}], 0.01)
        for decay in (0.0, 0.5)
    )
    before = kernel.detach().clone()
    after = []
    for optimizer in (plain, decaying):
        with torch.no_grad():
            kernel.copy_(before)
        kernel.grad = torch.ones_like(kernel)
        optimizer.step()
        after.append(kernel.detach().clone())
    torch.testing.assert_close(after[0] - after[1], 0.01 * 0.5 * before)


def test_the_outputs_of_the_network_and_its_norms_are_adamws() -> None:
    model = SPYv4(ModelConfig(width_multiple=0.0625))
    config = OptimizerConfig(name="muon", learning_rate=1e-3, weight_decay=0.1)
    kernels, outputs, others = build_optimizer(model, config).param_groups
    heads = {id(head.weight) for head in model.outputs}
    assert {id(p) for p in outputs["params"]} == heads
    assert all(p.ndim == 4 and id(p) not in heads for p in kernels["params"])
    assert all(p.ndim == 1 for p in others["params"])
    assert [g["weight_decay"] for g in (kernels, outputs, others)] == [0.1, 0.1, 0.0]
    assert [g["orthogonal"] for g in (kernels, outputs, others)] == [True, False, False]


def test_a_run_goes_on_as_if_it_had_not_stopped() -> None:
    def build(layers: nn.Sequential) -> Muon:
        kernels = [layers[0].weight, layers[1].weight]
        rest = [p for p in layers.parameters() if all(p is not k for k in kernels)]
        groups = [{"params": kernels, "orthogonal": True}, {"params": rest}]
        return Muon([group | {"weight_decay": 0.1} for group in groups], 0.01)

    layers = _layers()
    optimizer = build(layers)
    _step(layers, optimizer)
    copied = copy.deepcopy(layers)
    resumed = build(copied)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each, steps in ((layers, optimizer), (copied, resumed)):
        torch.manual_seed(1)
        _step(each, steps)
    for own, other in zip(layers.parameters(), copied.parameters(), strict=True):
        assert torch.equal(own, other)
