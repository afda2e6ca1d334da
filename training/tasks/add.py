"""The Add-task (paper, figure 2; reference 3b): remember two marked numbers, and add them."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from spyv4.config import NeuronConfig
from spyv4.network.blocks import SpikingDense
from spyv4.validation import Count, Positive, Whole, configuration
from training.config import LearnerConfig
from training.learning import Learner

NEURONS = {"ltc": "adaptive-ltc", "alif": "adaptive-lif"}
"""The paper's names of the tasks' neurons, both with adaptive thresholds (equation 8)."""
GOOD = 0.01
LAST = 100


@configuration
class AddConfig:
    """One run of the Add-task.

    Attributes:
        neuron: of the recurrent layer: `ltc`, `alif`, or `lstm` for a cell that does not spike.
        learner: the learning rule.
        length: steps of a sequence, at least 2.
        iterations: batches to learn from.
        batch_size: sequences a batch.
        size: neurons of the recurrent layer.
        learning_rate: of Adam, > 0.
        seed: of initial parameters and data.
    """

    neuron: Literal["ltc", "alif", "lstm"] = "ltc"
    learner: LearnerConfig = LearnerConfig(
        kind="fptt-k", alpha=0.5, gradient_clip=1.0, adopt_running_mean=False
    )
    length: Count = 200
    iterations: Count = 10_000
    batch_size: Count = 128
    size: Count = 128
    learning_rate: Positive = 3e-3
    seed: Whole = 0


class Sequences(NamedTuple):
    """A batch of the task.

    Attributes:
        inputs: [B, T, 2], a number in 0..1 and whether it is marked.
        goals: [B, 1], the sum of the two marked numbers.
    """

    inputs: Tensor
    goals: Tensor


def draw_sequences(batch: int, length: int, generator: torch.Generator) -> Sequences:
    """Random sequences, one mark in each half."""
    numbers = torch.rand(batch, length, generator=generator)
    marks = torch.zeros(batch, length)
    half = length // 2
    for low, high in ((0, half), (half, length)):
        place = torch.randint(low, high, (batch, 1), generator=generator)
        marks.scatter_(1, place, 1.0)
    goals = (numbers * marks).sum(1, keepdim=True)
    return Sequences(torch.stack((numbers, marks), dim=2), goals)


class AddNetwork(nn.Module):
    """One recurrent layer, and a dense read-out of its potentials (of the LSTM's output).

    Args:
        neuron: see `AddConfig`.
        size: neurons.
    """

    def __init__(self, neuron: str, size: int) -> None:
        super().__init__()
        self.size = size
        self.spiking = neuron in NEURONS
        if self.spiking:
            kind: Any = NEURONS[neuron]
            config = NeuronConfig(kind=kind, fusion="concat", rate_bias=0.0)
            self.layer: nn.Module = SpikingDense(2, size, config)
        else:
            self.layer = nn.LSTMCell(2, size)
        self.readout = nn.Linear(size, 1)

    def initial_state(self, batch: int) -> Any:
        """Rest."""
        if isinstance(self.layer, SpikingDense):
            return self.layer.initial_state(batch)
        return torch.zeros(batch, self.size), torch.zeros(batch, self.size)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One step: the sum so far, [B, 1], and the new state."""
        if self.spiking:
            _, after = self.layer(x, state)
            return self.readout(after.neuron.u), after
        hidden, cell = self.layer(x, state)
        return self.readout(hidden), (hidden, cell)


class AddResult(NamedTuple):
    """What a run of the task gave.

    Attributes:
        losses: squared error at the end of fresh sequences after every iteration; the variance
            of the goal is 1/6.
        final_loss: mean of the last 100.
        first_below_good: the first iteration, from 1, with a loss below 0.01; None for none.
    """

    losses: list[float]
    final_loss: float
    first_below_good: int | None


def run_add(
    config: AddConfig, report: Callable[[int, float], None] = lambda _iteration, _loss: None
) -> AddResult:
    """Learn the task; `report` is told every iteration and its loss."""
    torch.manual_seed(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    network = AddNetwork(config.neuron, config.size)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    learner = Learner(network.parameters(), optimizer, config.learner)
    losses: list[float] = []
    for iteration in range(1, config.iterations + 1):
        batch = draw_sequences(config.batch_size, config.length, generator)
        _learn(learner, network, batch)
        fresh = draw_sequences(config.batch_size, config.length, generator)
        losses.append(evaluate_add(network, fresh))
        report(iteration, losses[-1])
    recent = losses[-LAST:]
    good = (index for index, loss in enumerate(losses, start=1) if loss < GOOD)
    return AddResult(losses, sum(recent) / len(recent), next(good, None))


def _learn(learner: Learner, network: AddNetwork, batch: Sequences) -> None:
    """One batch; a loss counts the more the later it comes, since the end alone can be known."""
    inputs, goals = batch
    length = inputs.shape[1]
    learner.sequence(
        lambda t, state: network(inputs[:, t], state),
        lambda output, t: (t + 1) / length * (output - goals).square().mean(),
        network.initial_state(len(inputs)),
        length,
    )


@torch.no_grad()
def evaluate_add(network: AddNetwork, batch: Sequences) -> float:
    """Mean squared error of the read-out at the end of the sequences."""
    state = network.initial_state(len(batch.inputs))
    for t in range(batch.inputs.shape[1]):
        output, state = network(batch.inputs[:, t], state)
    return float((output - batch.goals).square().mean())
