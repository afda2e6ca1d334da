"""What a training run consists of, and how it is put away and taken up again."""

import json
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from torch import nn

from spyv4.errors import CheckpointError, ConfigError
from spyv4.network.spyv4 import SPYv4
from spyv4.network.table import LAYER_NAMES
from spyv4.validation import to_mapping
from training.config import TrainingConfig
from training.data import TrainingLoader
from training.distillation.loss import DistillationLoss
from training.distillation.twin import TwinTeacher
from training.learning import Learner
from training.optimisation import AveragedModel, build_optimizer

BACKBONE = LAYER_NAMES[: LAYER_NAMES.index("csp3_d") + 1]


class Position(NamedTuple):
    """The next batch: its epoch and its step within the epoch, both from 0."""

    epoch: int
    step: int


class RunState:
    """Everything that changes while a network is trained.

    Args:
        model: the network, on its device, updated in place.
        loader: the batches; tells how long an epoch is, and what data it is.
        config: the recipe.
        twin: the twin that teaches, where one does.
    """

    def __init__(
        self,
        model: SPYv4,
        loader: TrainingLoader,
        config: TrainingConfig,
        twin: TwinTeacher | None = None,
    ) -> None:
        self.model = model
        self.twin = twin
        self.config = config
        self.distillation = _distillation(model, loader, config)
        self.steps_per_epoch = loader.steps_per_epoch
        self.data = loader.fingerprint
        self._frozen = [model.spiking[name] for name in BACKBONE if config.freeze == "backbone"]
        for layer in self._frozen:
            layer.requires_grad_(requires_grad=False)
        trained = nn.ModuleList(filter(None, (model, self.distillation)))
        self.optimizer = build_optimizer(trained, config.optimizer)
        moved = (p for p in trained.parameters() if p.requires_grad)
        self.learner = Learner(moved, self.optimizer, config.learner)
        self.average = AveragedModel(model, config.optimizer.ema_decay)
        self.position = Position(0, 0)

    @property
    def step(self) -> int:
        """Batches done since the start of the run."""
        return self.position.epoch * self.steps_per_epoch + self.position.step

    @property
    def total_steps(self) -> int:
        """Batches of the whole run."""
        return self.config.epochs * self.steps_per_epoch

    @property
    def complete(self) -> bool:
        """Whether all epochs are done."""
        return self.position.epoch >= self.config.epochs

    @property
    def between_epochs(self) -> bool:
        """Whether no batch of the epoch at hand is done."""
        return self.position.step == 0

    def advance(self) -> None:
        """One more batch is done, and with the last one of an epoch the epoch."""
        epoch, step = self.position
        self.position = Position(epoch, step + 1)
        if step + 1 == self.steps_per_epoch:
            self.learner.end_epoch()
            self.position = Position(epoch + 1, 0)

    def finish(self) -> None:
        """No more epochs, though more were planned."""
        self.position = Position(self.config.epochs, 0)

    def train_mode(self) -> None:
        """Layers as in training, but for what shall stay as it is."""
        self.model.train()
        if self.config.freeze_batch_norm:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        for layer in self._frozen:
            layer.eval()

    def evaluated(self) -> AbstractContextManager[None]:
        """Within the block the model is what is evaluated and shipped.

        That is the exponential average where there is one, else what the learning rule says.
        """
        if self.average.decay > 0:
            return self.average.swapped_in()
        return self.learner.evaluated()

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on exactly here."""
        return {
            "config": json.dumps(to_mapping(self.config)),
            "position": list(self.position),
            "steps_per_epoch": self.steps_per_epoch,
            "data": self.data,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "learner": self.learner.state_dict(),
            "average": self.average.state_dict(),
            "distillation": self.distillation.state_dict() if self.distillation else {},
            "twin": self._twin_fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ConfigError: if the training set is not the one of then, or the teacher came or went.
            CheckpointError: if the checkpoint is of another network, optimiser or learning rule.
        """
        self._check_data(state)
        if bool(state["distillation"]) != (self.distillation is not None):
            had = "with" if state["distillation"] else "without"
            raise ConfigError(f"the checkpoint was made {had} a teacher; resume {had} --teacher")
        if state["twin"] != self._twin_fingerprint:
            had, wanted = ("with", "with the same") if state["twin"] else ("without", "without")
            raise ConfigError(
                f"the checkpoint was made {had} a twin as a teacher; resume {wanted} --twin-teacher"
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
            if self.distillation is not None:
                self.distillation.load_state_dict(state["distillation"])
            self.position = Position(*state["position"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            first_line = str(error).splitlines()[0]
            raise CheckpointError(f"the checkpoint is of another run: {first_line}") from error

    @property
    def _twin_fingerprint(self) -> str:
        return self.twin.fingerprint if self.twin is not None else ""

    def _check_data(self, state: dict[str, Any]) -> None:
        if state["data"] != self.data:
            raise ConfigError(
                "the training pictures or their boxes are not those of the checkpoint; resume "
                "with the same data, or start a new run from its weights with --init-weights"
            )
        if state["steps_per_epoch"] != self.steps_per_epoch:
            raise ConfigError(
                f"the checkpoint was made with {state['steps_per_epoch']} batches an epoch, now "
                f"there are {self.steps_per_epoch}; resume with the same batch size"
            )


def _distillation(
    model: SPYv4, loader: TrainingLoader, config: TrainingConfig
) -> DistillationLoss | None:
    """What is learned from the loader's teacher, where it has one."""
    teacher = loader.teacher
    if teacher is None:
        return None
    loss = DistillationLoss(
        config.model, config.distillation, model.channels, teacher.channels, teacher.known
    )
    return loss.to(next(model.parameters()).device)
