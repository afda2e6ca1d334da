"""The training loop."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from spyv4.network.spyv4 import SPYv4State
from spyv4.network.table import LAYER_NAMES
from training import processes
from training.data import Batch, TrainingLoader
from training.errors import DataWorkerError
from training.finite import check_terms
from training.interrupts import Interrupts
from training.loss import build_loss
from training.loss.assign import Assignment
from training.optimisation import learning_rate
from training.read import Read, Seen, dtype_of
from training.report.log import RunLog, StepReport
from training.run_state import RunState
from training.runs import RunFolder

_READS_SEED, _DROPOUT_SEED = 7, 11


class Trainer:
    """Trains one network on one loader.

    Args:
        state: what is trained, and how far it is.
        loader: the batches.
        folder: where checkpoints go.
        compile_step: compile the forward and backward pass of a read.
        save_every_s: seconds between checkpoints.
    """

    def __init__(
        self,
        state: RunState,
        loader: TrainingLoader,
        folder: RunFolder,
        *,
        compile_step: bool = True,
        save_every_s: float = 300.0,
    ) -> None:
        self.state = state
        self.loader = loader
        self.folder = folder
        self.save_every_s = save_every_s
        self.loss = build_loss(state.config.model, state.config.loss)
        self.read = Read(
            state.model,
            dtype_of(state.config),
            compile_step=compile_step,
            through_state=state.config.learner.through_reads,
            shown=self._heard(),
        )
        self._to_compile = compile_step

    def _heard(self) -> Sequence[str]:
        """Layers whose spikes a teacher has an opinion of."""
        if self.state.twin is not None:
            return LAYER_NAMES
        heads = self.state.config.model.heads if self.state.distillation is not None else ()
        return [head.layer for head in heads]

    def run(
        self,
        log: RunLog,
        after_epoch: Callable[[], None] = lambda: None,
        stop: Interrupts | None = None,
    ) -> bool:
        """Train from the present position to the end, or until asked to stop.

        Args:
            log: receives a report a batch.
            after_epoch: called after each epoch, when it is saved.
            stop: answers Ctrl-C and SIGTERM; None for one of its own.

        Returns: whether the run is complete.

        Raises:
            NonFiniteLossError: if a loss term is NaN or infinite; the parameters of the last
                checkpoint are untouched by it.
            DataWorkerError: if a worker of the loader has died; what was done is saved.
            ProcessGoneError: if another process of the run has died.
        """
        stop = stop or Interrupts()
        state = self.state
        if state.complete:
            return True
        state.train_mode()
        saved_step, saved_at = state.step, time.monotonic()
        with stop.batches():
            try:
                with stop.at_once("decoding pictures"):
                    self.loader.prepare()
                left = state.config.epochs - state.position.epoch
                for batch, waited_s in _timed(self.loader.batches(*state.position, left)):
                    report = self._compiled_batch(batch, log, stop)
                    log.step(report._replace(waited_s=waited_s))
                    state.advance()
                    overdue = time.monotonic() - saved_at > self.save_every_s
                    stopped = processes.any_of(stop.requested)
                    if state.between_epochs or stopped or overdue:
                        self._save()
                        saved_step, saved_at = state.step, time.monotonic()
                    if not stopped and state.between_epochs:
                        self._between_epochs(after_epoch)
                    if stopped or state.complete:  # perhaps early
                        break
            except DataWorkerError:
                if state.step > saved_step:
                    self._save()
                raise
        return state.complete

    def _save(self) -> None:
        """Of several processes, which are all at the same place, the lead saves."""
        if processes.is_lead():
            self.folder.save(self.state)

    def _between_epochs(self, after_epoch: Callable[[], None]) -> None:
        """What the lead does there, which may be to end the run early."""
        if processes.is_lead():
            after_epoch()
        self.state.position = processes.from_lead(self.state.position)

    def _compiled_batch(self, batch: Batch, log: RunLog, stop: Interrupts) -> StepReport:
        """A batch; the first one of a process compiles the step, which takes its time."""
        if not self._to_compile:
            return self.train_batch(batch, observe=log.due(self.state.step))
        log.say("compiling the step, a minute or two")
        started = time.perf_counter()
        with stop.at_once("compiling the step"):
            report = self.train_batch(batch, observe=log.due(self.state.step))
        self._to_compile = False
        log.say(f"compiled in {time.perf_counter() - started:.0f} s")
        return report

    def train_batch(self, batch: Batch, *, observe: bool = False) -> StepReport:
        """All reads of one batch, under the learning rule."""
        started = time.perf_counter()
        state, device = self.state, self.read.device
        epoch, step = state.position
        rate = self._set_learning_rate()
        # Dropout, too, depends on (seed, epoch, step) alone.
        torch.manual_seed(int(self._random(_DROPOUT_SEED).integers(2**62)) + processes.rank())
        images = batch.images.to(device, non_blocking=True)
        images = images.to(memory_format=torch.channels_last)
        targets = batch.targets.to(device, non_blocking=True)
        unsure = batch.unsure.to(device, non_blocking=True)
        teach = self._teachers(batch, images)
        assignments: list[Assignment] = []
        losses: list[Tensor] = []
        rates: list[Tensor] = []

        def look(_: int, before: SPYv4State) -> tuple[Seen, SPYv4State]:
            seen, after = self.read(images, before)
            rates.append(seen.firing_rate)
            return seen, after

        def judge(seen: Seen, _: int) -> Tensor:
            if not assignments:  # they are the same at every read
                assignments.extend(self.loss.assign(seen.maps, batch.targets))
            terms = self.loss(seen.maps, assignments, targets, unsure)
            terms = terms._replace(teacher=terms.teacher + sum(one(seen) for one in teach))
            losses.append(torch.stack(terms).detach())
            return terms.total

        learned = state.learner.sequence(
            look, judge, self.read.at_rest(images.shape), self._reads(), observe=observe
        )
        if state.average.decay > 0:
            state.average.update()
        terms = processes.mean(torch.stack(losses))
        if observe or device.type == "cpu":  # elsewhere a look at them would wait
            check_terms(terms, f"epoch {epoch + 1}, batch {step + 1}", self.folder.path)
        return StepReport(
            epoch=epoch,
            step=step,
            global_step=state.step,
            terms=terms.mean(0),
            learning_rate=rate,
            firing_rate=rates[-1],
            images=len(images) * processes.count(),
            observation=learned.observation,
            seconds=time.perf_counter() - started,
        )

    def _teachers(self, batch: Batch, images: Tensor) -> list[Callable[[Seen], Tensor]]:
        """Each tells how far a read of the batch is from what it makes of the pictures."""
        found: list[Callable[[Seen], Tensor]] = []
        distillation, twin = self.state.distillation, self.state.twin
        if distillation is not None and batch.teacher is not None:
            view = batch.teacher.to(self.read.device)
            heads = [head.layer for head in self.state.config.model.heads]
            found.append(
                lambda seen: distillation(seen.maps, [seen.spikes[name] for name in heads], view)
            )
        if twin is not None:
            answer = twin(images)
            found.append(lambda seen: twin.distance(seen.maps, list(seen.spikes.values()), answer))
        return found

    def _set_learning_rate(self) -> float:
        """Of the batch at hand."""
        state = self.state
        rate = learning_rate(state.config.optimizer, state.step, state.total_steps)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _reads(self) -> int:
        """Number of reads of the batch at hand."""
        config = self.state.config
        if config.min_reads == 0:
            return config.reads
        return int(self._random(_READS_SEED).integers(config.min_reads, config.reads + 1))

    def _random(self, purpose: int) -> np.random.Generator:
        """Randomness of the batch at hand, from (seed, epoch, step) alone."""
        return np.random.default_rng((self.state.config.seed, *self.state.position, purpose))


def _timed(batches: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
    """The batches, and the seconds that each was waited for."""
    made = iter(batches)
    started = time.perf_counter()
    while (batch := next(made, None)) is not None:
        yield batch, time.perf_counter() - started
        started = time.perf_counter()
