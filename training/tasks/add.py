"""The Add-task (paper, figure 2; reference 3b): remember two marked numbers, and add them."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spyv4.errors import ConfigError
from spyv4.files import write_atomically
from spyv4.validation import Count, NotNegative, Positive, Whole, configuration, to_mapping
from training.config import LearnerConfig
from training.learning import build_learner
from training.tasks.network import NeuronName, TaskNetwork
from training.tasks.notation import find_network

INPUTS, OUTPUTS = 2, 1
GOOD = 0.01
LAST = 100
SAVE_EVERY_S = 60.0


@configuration
class AddConfig:
    """One run of the Add-task.

    Attributes:
        neuron: of the spiking layers (see `training.tasks.network`).
        network: in the paper's notation, with 2 inputs and 1 output.
        learner: the learning rule.
        length: steps of a sequence, at least 2.
        iterations: batches to learn from.
        batch_size: sequences a batch.
        learning_rate: of Adam, > 0.
        epoch: batches after which the learning rule's epoch ends (W <- Wbar, where it does that).
        stop_below: end early once the mean of the last 100 losses is below this; 0 for never.
        seed: of initial parameters and data.
    """

    neuron: NeuronName = "ltc"
    network: str = "2-128R-1"
    learner: LearnerConfig = LearnerConfig(
        kind="fptt-k", alpha=0.5, gradient_clip=1.0, adopt_running_mean=False
    )
    length: Count = 200
    iterations: Count = 10_000
    batch_size: Count = 128
    learning_rate: Positive = 3e-3
    epoch: Count = 100
    stop_below: NotNegative = 0.0
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


class AddRun:
    """A run of the Add-task, to be advanced batch by batch and gone on with later.

    Args:
        config: what is run.
        compile_step: compile a step of the network, which takes seconds and then wins a quarter.
    """

    def __init__(self, config: AddConfig, *, compile_step: bool = False) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.generator = torch.Generator().manual_seed(config.seed)
        notation = find_network(config.network)
        if notation.readout.size != OUTPUTS:
            raise ConfigError(f"the network {notation} of the Add-task must end in 1 output")
        self.network = TaskNetwork(notation, (INPUTS,), config.neuron)
        if compile_step:
            self.network.compile()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.learner = build_learner(self.network, self.optimizer, config.learner)
        self.losses: list[float] = []

    def advance(self) -> float:
        """Learn from one batch; the error on a fresh one after it."""
        self._learn(self._draw())
        if (len(self.losses) + 1) % self.config.epoch == 0:
            self.learner.end_epoch()
        self.losses.append(evaluate_add(self.network, self._draw()))
        return self.losses[-1]

    def _draw(self) -> Sequences:
        return draw_sequences(self.config.batch_size, self.config.length, self.generator)

    def _learn(self, batch: Sequences) -> None:
        """A loss counts the more the later it comes, since the end alone can be known."""
        inputs, goals = batch
        length = inputs.shape[1]
        self.learner.sequence(
            lambda t, state: self.network(inputs[:, t], state),
            lambda output, t: (t + 1) / length * (output - goals).square().mean(),
            self.network.initial_state(len(inputs)),
            length,
        )

    @property
    def recent(self) -> float:
        """Mean of the last 100 losses; infinite before the first."""
        last = self.losses[-LAST:]
        return sum(last) / len(last) if last else math.inf

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        enough = len(self.losses) >= LAST and self.recent < self.config.stop_below
        return enough or len(self.losses) >= self.config.iterations

    def state_dict(self) -> dict[str, Any]:
        """What going on needs."""
        return {
            "config": to_mapping(self.config),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "learner": self.learner.state_dict(),
            "generator": self.generator.get_state(),
            "losses": self.losses,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, perhaps to more iterations than were planned then.

        Raises:
            ConfigError: if it is of another run.
        """
        for name, value in to_mapping(self.config).items():
            if name not in ("iterations", "stop_below") and state["config"][name] != value:
                raise ConfigError(
                    f"the checkpoint is of a run with {name} = {state['config'][name]}, not {value}"
                )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.learner.load_state_dict(state["learner"])
        self.generator.set_state(state["generator"])
        self.losses = list(state["losses"])


def run_add(
    config: AddConfig,
    report: Callable[[AddRun], None] = lambda _run: None,
    *,
    checkpoint: Path | None = None,
    compile_step: bool = False,
) -> AddResult:
    """Learn the task.

    Args:
        config: what is run.
        report: called at the start and after every iteration.
        checkpoint: goes on from this file where it exists; written every minute and at the end.
        compile_step: see `AddRun`.

    Raises:
        ConfigError: if the checkpoint is of another run.
    """
    run = AddRun(config, compile_step=compile_step)
    if checkpoint is not None and checkpoint.exists():
        run.load_state_dict(torch.load(checkpoint, weights_only=True))
    report(run)
    saved = time.monotonic()
    while not run.done:
        run.advance()
        report(run)
        if checkpoint is not None and (run.done or time.monotonic() - saved > SAVE_EVERY_S):
            write_atomically(checkpoint, lambda path: torch.save(run.state_dict(), path))
            saved = time.monotonic()
    good = (index for index, loss in enumerate(run.losses, start=1) if loss < GOOD)
    return AddResult(run.losses, run.recent, next(good, None))


@torch.no_grad()
def evaluate_add(network: TaskNetwork, batch: Sequences) -> float:
    """Mean squared error of the read-out at the end of the sequences."""
    state = network.initial_state(len(batch.inputs))
    for t in range(batch.inputs.shape[1]):
        output, state = network(batch.inputs[:, t], state)
    return float((output - batch.goals).square().mean())
