"""A run of a task of classification: learn, evaluate, stop, and go on."""

import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spyv4.errors import CheckpointError, ConfigError
from spyv4.files import write_atomically
from spyv4.validation import to_mapping
from training.errors import NonFiniteLossError
from training.interrupts import Interrupts
from training.learning import build_learner
from training.optimisation import build_optimizer, learning_rate
from training.tasks.config import TaskConfig
from training.tasks.data import Sequences, TaskData, generator
from training.tasks.loss import sequence_loss
from training.tasks.network import TaskNetwork
from training.tasks.notation import find_network

SAVE_EVERY_S = 60.0
EVALUATION_BATCH = 250
RECENT = 10
_TEST_SEED = 0


class Score(NamedTuple):
    """What came of some sequences, judged at their ends.

    Attributes:
        loss: mean cross-entropy; while learning, mean loss of the segments.
        accuracy: share of the sequences whose largest output is that of their label, 0..1.
    """

    loss: float
    accuracy: float


class Epoch(NamedTuple):
    """What an epoch gave.

    Attributes:
        train: means over its batches, each before it was fully learned from.
        test: of the network after it.
        seconds: of learning, without the evaluation.
    """

    train: Score
    test: Score
    seconds: float


class TaskRun:
    """A run, to be advanced batch by batch and gone on with later.

    Attributes:
        epochs: what those that are complete gave.
        learned: of every batch of the epoch at hand.
        recent: of the last few batches here.

    Args:
        config: what is run.
        data: of the task.

    Raises:
        ConfigError: if network, data and learner do not fit one another.
    """

    def __init__(self, config: TaskConfig, data: TaskData) -> None:
        torch.manual_seed(config.seed)
        self.config, self.data = config, data
        network = find_network(config.network)
        if network.readout.size != len(data.classes):
            raise ConfigError(
                f"the network {network} has {network.readout.size} outputs, but {config.task} has "
                f"{len(data.classes)} classes; end it with {len(data.classes)}I"
            )
        self.network = TaskNetwork(
            network,
            data.train.shape,
            config.neuron,
            rate_bias=config.rate_bias,
            readout_steps=config.readout_steps,
        )
        self.optimizer = build_optimizer(self.network, config.optimizer)
        self.learner = build_learner(self.network, self.optimizer, config.learner)
        available = len(data.train)
        self.samples = min(config.limit, available) if config.limit else available
        self.batch_size = min(config.batch_size, self.samples)
        self.batches_per_epoch = self.samples // self.batch_size
        self.batches = 0
        self.seconds = 0.0
        self.epochs: list[Epoch] = []
        self.learned: list[Score] = []
        self.recent: deque[Score] = deque(maxlen=RECENT)

    @property
    def total(self) -> int:
        """Batches of the whole run."""
        return self.config.epochs * self.batches_per_epoch

    @property
    def done(self) -> bool:
        """Whether there is nothing left to learn."""
        return self.batches >= self.total

    def advance(self) -> Score:
        """Learn from the next batch; after the last one of an epoch, evaluate.

        Raises:
            NonFiniteLossError: if the loss is.
        """
        started = time.perf_counter()
        epoch, batch = divmod(self.batches, self.batches_per_epoch)
        order = torch.randperm(self.samples, generator=self._generator("order", epoch))
        chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
        rate = learning_rate(self.config.optimizer, self.batches, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        score = self._learn(chosen)
        self.learned.append(score)
        self.recent.append(score)
        self.batches += 1
        ended = self.batches % self.batches_per_epoch == 0
        if ended:
            self.learner.end_epoch()
        self.seconds += time.perf_counter() - started
        if ended:
            self._end_epoch()
        return score

    def _generator(self, purpose: str, number: int) -> torch.Generator:
        return generator(self.config.seed, purpose, number)

    def _learn(self, chosen: Tensor) -> Score:
        sequences = self.data.train
        labels = sequences.labels[chosen]
        inputs = sequences.read(chosen, self._generator("draw", self.batches))
        final: Tensor = inputs

        def step(t: int, state: Any) -> tuple[Tensor, Any]:
            nonlocal final
            final, state = self.network(inputs[t], state)
            return final, state

        def loss(outputs: Tensor, t: int) -> Tensor:
            share = (t + 1) / sequences.steps
            return sequence_loss(outputs, labels, share, self.config.divergence)

        state = self.network.initial_state(len(chosen))
        learned = self.learner.sequence(step, loss, state, sequences.steps)
        if not math.isfinite(learned.loss):
            raise NonFiniteLossError(
                f"the loss is {learned.loss} after {self.batches} batches; lower --learning-rate, "
                "or choose a rule that goes back through fewer steps"
            )
        return Score(float(learned.loss), _accuracy(final, labels))

    def _end_epoch(self) -> None:
        seconds = self.seconds - sum(epoch.seconds for epoch in self.epochs)
        train = Score(*(sum(v) / len(v) for v in zip(*self.learned, strict=True)))
        self.learned.clear()
        self.epochs.append(Epoch(train, self.evaluate(self.data.test), seconds))

    @torch.no_grad()
    def evaluate(self, sequences: Sequences) -> Score:
        """Loss and accuracy at the ends of the sequences; the same whenever it is asked.

        The batches have one size, so that a compiled step is compiled once: the last one is filled
        up with its last sample.
        """
        self.network.eval()
        count, size = len(sequences), min(EVALUATION_BATCH, len(sequences))
        outputs: list[Tensor] = []
        for start in range(0, count, size):
            chosen = torch.arange(start, start + size).clamp(max=count - 1)
            inputs = sequences.read(chosen, generator(_TEST_SEED, "test", start))
            state = self.network.initial_state(size)
            for x in inputs:
                final, state = self.network(x, state)
            outputs.append(final[: count - start])
        self.network.train()
        final = torch.cat(outputs)
        return Score(
            float(sequence_loss(final, sequences.labels, 1.0, "label")),
            _accuracy(final, sequences.labels),
        )

    def state_dict(self) -> dict[str, Any]:
        """What going on needs."""
        return {
            "config": to_mapping(self.config),
            "samples": self.samples,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "learner": self.learner.state_dict(),
            "batches": self.batches,
            "seconds": self.seconds,
            "learned": [list(score) for score in self.learned],
            "epochs": [[list(e.train), list(e.test), e.seconds] for e in self.epochs],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ConfigError: if it is of another run.
            CheckpointError: if it is no state of a run.
        """
        try:
            for name, value in to_mapping(self.config).items():
                _same(name, state["config"][name], value)
            _same("training samples", state["samples"], self.samples)
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.learner.load_state_dict(state["learner"])
            self.batches, self.seconds = state["batches"], state["seconds"]
            self.learned = [Score(*score) for score in state["learned"]]
            self.epochs = [Epoch(Score(*a), Score(*b), s) for a, b, s in state["epochs"]]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            first = str(error).splitlines()[0]
            raise CheckpointError(f"the checkpoint is not of such a run: {first}") from error


def run_task(
    run: TaskRun,
    report: Callable[[TaskRun], None],
    stop: Interrupts,
    *,
    checkpoint: Path | None = None,
    minutes: float | None = None,
) -> Score:
    """Learn, and evaluate at the end.

    Args:
        run: new.
        report: called at the start and after every batch.
        stop: ends the run after a batch where there is a checkpoint to go on from, else at once.
        checkpoint: goes on from this file where it exists; written every minute and at the end.
        minutes: stop learning after so much time here, though batches are left.

    Returns:
        What the network gives on the test samples at the end.

    Raises:
        ConfigError: if the checkpoint is of another run.
        CheckpointError: if it is none.
    """
    if checkpoint is not None and checkpoint.exists():
        run.load_state_dict(torch.load(checkpoint, weights_only=True))
    started = saved = time.monotonic()
    report(run)
    with stop.batches() if checkpoint is not None else nullcontext():
        while not (run.done or stop.requested or _over(started, minutes)):
            run.advance()
            report(run)
            if checkpoint is not None and time.monotonic() - saved > SAVE_EVERY_S:
                _save(run, checkpoint)
                saved = time.monotonic()
        if checkpoint is not None:
            _save(run, checkpoint)
    with stop.at_once("evaluating"):
        whole = run.epochs and run.batches == len(run.epochs) * run.batches_per_epoch
        return run.epochs[-1].test if whole else run.evaluate(run.data.test)


def _over(started: float, minutes: float | None) -> bool:
    return minutes is not None and time.monotonic() - started >= 60 * minutes


def _save(run: TaskRun, path: Path) -> None:
    write_atomically(path, lambda part: torch.save(run.state_dict(), part))


def _same(name: str, before: Any, now: Any) -> None:
    if before != now:
        raise ConfigError(f"the checkpoint is of a run with {name} = {before}, not {now}")


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(1) == labels).float().mean())
