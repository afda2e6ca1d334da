"""Neurons in millivolts learn, online and through time."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from spyv4.config import PHYSICAL_KINDS, NeuronConfig
from spyv4.network.blocks import DenseState, SpikingDense
from training.config import LearnerConfig
from training.learning import build_learner


class Toy(nn.Module):
    """A small recurrent layer and a read-out of its potentials."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer = SpikingDense(2, 16, NeuronConfig(kind=kind))  # type: ignore[arg-type]
        self.readout = nn.Linear(16, 1)

    def forward(self, x: Tensor, state: DenseState) -> tuple[Tensor, DenseState]:
        spikes, after = self.layer(x, state)
        return self.readout(self.layer.neuron.potential(after.neuron) + spikes), after


@pytest.mark.parametrize("rule", ["fptt", "bptt"])
@pytest.mark.parametrize("kind", PHYSICAL_KINDS)
def test_they_learn(kind: str, rule: str) -> None:
    """Twenty batches of telling the sign of a noisy current, ten steps each."""
    torch.manual_seed(0)
    network = Toy(kind)
    learner = build_learner(
        network,
        torch.optim.Adam(network.parameters(), 1e-2),
        LearnerConfig(kind=rule, loss_at="every"),  # type: ignore[arg-type]
    )

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(0)
        while True:
            goals = torch.randint(0, 2, (32, 1), generator=generator).float()
            yield 2 * goals.unsqueeze(1) + torch.rand(32, 10, 2, generator=generator), goals

    losses = []
    for (x, goals), _ in zip(batches(), range(20), strict=False):
        learned = learner.sequence(
            lambda t, state, x=x: network(x[:, t], state),
            lambda y, t, goals=goals: (y - goals).square().mean(),
            network.layer.initial_state(32),
            10,
        )
        losses.append(learned.loss.item())
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
