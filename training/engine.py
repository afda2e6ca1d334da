"""The training loop."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spyv4.checkpoint import save_model
from spyv4.errors import CheckpointError, ConfigError
from spyv4.network.readout import Maps
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.validation import to_mapping
from training.checkpoints import WEIGHTS, save_run, weights_problem
from training.config import TrainingConfig
from training.data import Batch, TrainingLoader
from training.errors import DataWorkerError
from training.finite import check_parameters, check_terms
from training.interrupts import Interrupts
from training.learning import Learner
from training.loss import build_loss
from training.loss.assign import Assignment
from training.optimisation import AveragedModel, build_optimizer, learning_rate
from training.read import Read
from training.report.log import RunLog, StepReport

_READS_SEED, _DROPOUT_SEED = 7, 11


class Position(NamedTuple):
    """The next batch: its epoch and its step within the epoch, both from 0."""

    epoch: int
    step: int


class Trainer:
    """Trains one network on one loader; everything it needs to go on is in `state_dict`.

    Args:
        model: the network, updated in place.
        loader: the batches.
        config: the recipe.
        run_dir: where checkpoints go.
        device: where the network runs.
        compile_step: compile the forward and backward pass of a read.
        save_every_s: seconds between checkpoints.
    """

    def __init__(
        self,
        model: SPYv4,
        loader: TrainingLoader,
        config: TrainingConfig,
        run_dir: Path,
        *,
        device: torch.device,
        compile_step: bool = True,
        save_every_s: float = 300.0,
    ) -> None:
        self.config = config
        self.run_dir = run_dir
        self.device = device
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loader = loader
        self.loss = build_loss(config.model, config.loss)
        self.optimizer = build_optimizer(model, config.optimizer)
        self.learner = Learner(model.parameters(), self.optimizer, config.learner)
        self.average = AveragedModel(model, config.optimizer.ema_decay)
        self.position = Position(0, 0)
        dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        self.read = Read(self.model, device, dtype, compile_step=compile_step)
        self.save_every_s = save_every_s
        self._to_compile = compile_step

    def run(
        self,
        log: RunLog,
        after_epoch: Callable[[int], None] | None = None,
        stop: Interrupts | None = None,
    ) -> bool:
        """Train from the present position to the end, or until asked to stop.

        Args:
            log: receives a report a batch.
            after_epoch: called with the number of epochs done after each one.
            stop: answers Ctrl-C and SIGTERM; None for one of its own.

        Returns:
            Whether the run is complete.

        Raises:
            NonFiniteLossError: if a loss term is NaN or infinite; the parameters of the last
                checkpoint are untouched by it.
            DataWorkerError: if a worker of the loader has died; what was done is saved.
        """
        stop = stop or Interrupts()
        self.model.train()
        if self.config.freeze_batch_norm:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        first_step = self.global_step
        with stop.batches():
            while self.position.epoch < self.config.epochs and not stop.requested:
                epoch = self.position.epoch
                try:
                    self._train_epoch(log, stop)
                except DataWorkerError:
                    if self.global_step > first_step:
                        self.save()
                    raise
                if after_epoch is not None and self.position.epoch > epoch and not stop.requested:
                    after_epoch(self.position.epoch)
        return self.position.epoch >= self.config.epochs

    def _train_epoch(self, log: RunLog, stop: Interrupts) -> None:
        """The rest of the epoch at hand, or of it what comes before a request to stop."""
        epoch, first = self.position
        saved = time.monotonic()
        with stop.at_once("decoding pictures"):
            self.loader.prepare()
        for step, batch in enumerate(self.loader.batches(epoch, first), start=first):
            if self._to_compile:
                report = self._compile(batch, log, stop)
            else:
                report = self._train_batch(batch, observe=log.due(self.global_step))
            log.step(report)
            self.position = Position(epoch, step + 1)
            if stop.requested or time.monotonic() - saved > self.save_every_s:
                self.save()
                saved = time.monotonic()
            if stop.requested:
                return
        self.learner.end_epoch()
        self.position = Position(epoch + 1, 0)
        self.save()

    def _compile(self, batch: Batch, log: RunLog, stop: Interrupts) -> StepReport:
        """The first batch of this process, which compiles the step."""
        log.say("compiling the step, about a minute")
        started = time.perf_counter()
        with stop.at_once("compiling the step"):
            report = self._train_batch(batch)
        self._to_compile = False
        log.say(f"compiled in {time.perf_counter() - started:.0f} s")
        return report

    @property
    def global_step(self) -> int:
        """Batches done since the start of the run."""
        return self.position.epoch * self.loader.steps_per_epoch + self.position.step

    def _train_batch(self, batch: Batch, *, observe: bool = False) -> StepReport:
        """All reads of one batch, under the learning rule."""
        started = time.perf_counter()
        epoch, step = self.position
        global_step = self.global_step
        rate = learning_rate(
            self.config.optimizer, global_step, self.config.epochs * self.loader.steps_per_epoch
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Dropout, too, depends on (seed, epoch, step) alone.
        torch.manual_seed(int(self._random(epoch, step, _DROPOUT_SEED).integers(2**62)))
        images = batch.images.to(self.device, non_blocking=True)
        images = images.to(memory_format=torch.channels_last)
        targets = batch.targets.to(self.device, non_blocking=True)
        reads = self._reads_of(epoch, step)
        assignments: list[Assignment] = []
        losses: list[Tensor] = []
        rates: list[Tensor] = []

        def look(_: int, state: SPYv4State) -> tuple[Maps, SPYv4State]:
            maps, after, rate = self.read(images, state)
            rates.append(rate)
            return maps, after

        def judge(maps: Maps, _: int) -> Tensor:
            if not assignments:  # they are the same at every read
                assignments.extend(self.loss.assign(maps, targets))
            terms = self.loss(maps, assignments, targets)
            losses.append(torch.stack(terms).detach())
            return terms.total

        learned = self.learner.sequence(
            look, judge, self.read.at_rest(images.shape), reads, observe=observe
        )
        if self.average.decay > 0:
            self.average.update()
        terms = torch.stack(losses)
        if observe or self.device.type == "cpu":  # elsewhere a look at them would wait
            check_terms(terms, f"epoch {epoch + 1}, batch {step + 1}", self.run_dir)
        return StepReport(
            epoch=epoch,
            step=step,
            global_step=global_step,
            terms=terms.mean(0),
            learning_rate=rate,
            firing_rate=rates[-1],
            images=len(images),
            observation=learned.observation,
            seconds=time.perf_counter() - started,
        )

    def _reads_of(self, epoch: int, step: int) -> int:
        """Number of reads of a batch, from (seed, epoch, step) alone."""
        if self.config.min_reads == 0:
            return self.config.reads
        rng = self._random(epoch, step, _READS_SEED)
        return int(rng.integers(self.config.min_reads, self.config.reads + 1))

    def _random(self, epoch: int, step: int, purpose: int) -> np.random.Generator:
        """Randomness of one batch."""
        return np.random.default_rng((self.config.seed, epoch, step, purpose))

    def evaluated(self) -> AbstractContextManager[None]:
        """Within the block the model is what is evaluated and saved.

        That is the exponential average where there is one, else what the learning rule says.
        """
        if self.average.decay > 0:
            return self.average.swapped_in()
        return self.learner.evaluated()

    def save(self) -> None:
        """Write the weights for the detector, then the checkpoint that says how far they are.

        In this order: a run that is killed in between goes on from the checkpoint before, and one
        that says it is complete has its weights.

        Raises:
            NonFiniteLossError: if a parameter is NaN or infinite; nothing is written then.
            CheckpointError: if a file cannot be written; the one before it stays.
        """
        epoch, step = self.position
        check_parameters(self.model, f"epoch {epoch + 1}, batch {step + 1}", self.run_dir)
        self._save_weights()
        save_run(self.state_dict(), self.run_dir)

    def _save_weights(self) -> None:
        with self.evaluated():
            save_model(self.model, self.run_dir / WEIGHTS)

    def restore_weights(self) -> str:
        """Write the weights anew if the file is not what `save` writes at this position.

        Returns:
            What was wrong with the file; empty if nothing was.

        Raises:
            SaveError: if it cannot be written.
        """
        with self.evaluated():
            problem = weights_problem(self.model, self.run_dir / WEIGHTS)
        if problem:
            self._save_weights()
        return problem

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on exactly here."""
        return {
            "config": json.dumps(to_mapping(self.config)),
            "position": list(self.position),
            "steps_per_epoch": self.loader.steps_per_epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "learner": self.learner.state_dict(),
            "average": self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ConfigError: if the training set has another size than then.
            CheckpointError: if the checkpoint is of another network or learning rule.
        """
        if state["steps_per_epoch"] != self.loader.steps_per_epoch:
            raise ConfigError(
                f"the checkpoint was made with {state['steps_per_epoch']} batches an epoch, now "
                f"there are {self.loader.steps_per_epoch}; resume with the same data and batch size"
            )
        before = json.loads(state["config"])["optimizer"]["name"]
        if before != self.config.optimizer.name:
            raise CheckpointError(
                f"the checkpoint was made with the optimiser {before}, not "
                f"{self.config.optimizer.name}; resume with the same one"
            )
        try:
            self.model.load_state_dict(state["model"])
            decays = [group["weight_decay"] for group in self.optimizer.param_groups]
            self.optimizer.load_state_dict(state["optimizer"])
            for group, decay in zip(self.optimizer.param_groups, decays, strict=True):
                group["weight_decay"] = decay  # of this run's configuration, as the rate is
            self.learner.load_state_dict(state["learner"])
            self.average.load_state_dict(state["average"])
        except (RuntimeError, ValueError) as error:
            first_line = str(error).splitlines()[0]
            raise CheckpointError(f"the checkpoint is of another run: {first_line}") from error
        self.position = Position(*state["position"])
