"""One run of a task of classification, and the recipe of each task."""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Literal

from spyv4.validation import Count, Whole, configuration, require
from training.config import LearnerConfig, OptimizerConfig
from training.tasks.loss import Divergence
from training.tasks.network import NeuronName
from training.tasks.start import StartConfig

TaskName = Literal[
    "s-mnist", "ps-mnist", "r-mnist", "mnist", "fashion-mnist", "dvs-gesture", "dvs-cifar10"
]


@configuration
class TaskConfig:
    """Everything that decides the outcome of a run, except the data themselves.

    Attributes:
        task: what is classified.
        neuron: of the spiking layers (see `training.tasks.network`).
        network: in the paper's notation, or a name of `training.tasks.notation.NETWORKS`.
        learner: the learning rule.
        optimizer: optimiser and learning rate.
        epochs: passes over the training set.
        batch_size: sequences a batch; 1 learns online.
        frames: steps of a sequence: repeats of a picture, frames of a recording; 0 where the task
            has none to choose, as `s-mnist`.
        limit: learn from the first so many samples alone; 0 for all.
        divergence: what early steps learn (see `training.tasks.loss`).
        start: where the network's parameters start.
        seed: of initial parameters, order of samples, and Poisson trains.
    """

    task: TaskName
    neuron: NeuronName = "ltc"
    network: str = "s-mnist"
    learner: LearnerConfig = LearnerConfig(kind="fptt-k", alpha=0.1, adopt_running_mean=False)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    epochs: Count = 20
    batch_size: Count = 64
    frames: Whole = 0
    limit: Whole = 0
    divergence: Divergence = "prior"
    start: StartConfig = field(default_factory=StartConfig)
    seed: Whole = 0

    def __post_init__(self) -> None:
        fixed = self.task in ("s-mnist", "ps-mnist")
        require(
            fixed == (self.frames == 0),
            f"frames must be 0 for {self.task}, whose length is 784, not {self.frames}"
            if fixed
            else f"frames must be at least 1 for {self.task}",
        )


_HALVED_AT = (0.15, 0.4, 0.6)
"""After 30, 80 and 120 of the paper's 200 epochs."""
_SEQUENTIAL = OptimizerConfig(
    name="adam", learning_rate=3e-3, schedule="cosine", step_at=_HALVED_AT, step_factor=0.5
)
_REPEATED = replace(_SEQUENTIAL, name="adamax", learning_rate=1e-3)

_PIXEL_BY_PIXEL = TaskConfig(
    task="s-mnist",
    network="128R-10I",
    learner=LearnerConfig(kind="fptt-k", updates=14, alpha=0.1, adopt_running_mean=False),
    optimizer=replace(_SEQUENTIAL, learning_rate=2e-3),
    epochs=40,
    batch_size=128,
    divergence="label",
    start=StartConfig(
        update_logits=(-4.0, 0.0),
        adaptation_logits=(0.0, 5.0),
        input_gain=11.0,
        recurrent_gain=2.0,
        readout_steps=100.0,
    ),
)

RECIPES: Mapping[str, TaskConfig] = {
    "s-mnist": _PIXEL_BY_PIXEL,
    "ps-mnist": replace(_PIXEL_BY_PIXEL, task="ps-mnist"),
    "r-mnist": TaskConfig(
        task="r-mnist", network="r-mnist", optimizer=_SEQUENTIAL, epochs=20, frames=20
    ),
    "mnist": TaskConfig(task="mnist", network="mnist", optimizer=_REPEATED, epochs=20, frames=20),
    "fashion-mnist": TaskConfig(
        task="fashion-mnist", network="fashion-mnist", optimizer=_REPEATED, epochs=20, frames=20
    ),
    "dvs-gesture": TaskConfig(
        task="dvs-gesture",
        network="dvs-gesture",
        optimizer=_REPEATED,
        epochs=30,
        batch_size=16,
        frames=20,
    ),
    "dvs-cifar10": TaskConfig(
        task="dvs-cifar10",
        network="dvs-cifar10",
        optimizer=_REPEATED,
        epochs=30,
        batch_size=16,
        frames=20,
    ),
}
"""Where each task starts from; the command line changes single values."""
