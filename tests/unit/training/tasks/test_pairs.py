"""Every neuron under every learning rule."""

import math

import pytest

from spyv4.errors import ConfigError
from tests.helpers.task_data import write_mnist
from training.config import LearnerConfig, OptimizerConfig
from training.tasks.choices import LEARNERS, NEURON_NAMES
from training.tasks.config import TaskConfig
from training.tasks.data import TaskData
from training.tasks.datasets import open_data
from training.tasks.run import TaskRun

KNOWING_NOTHING = math.log(10)
"""The loss of saying all classes alike, the best that biases alone can learn."""
ONLINE = ("lif", "alif")
"""The neurons that e-prop has traces for."""


def config(neuron: str, learner: str) -> TaskConfig:
    updates = 2 if learner in ("fptt-k", "tbptt") else 0
    return TaskConfig(
        task="mnist",
        neuron=neuron,  # type: ignore[arg-type]
        network="784-24R-10I",
        learner=LearnerConfig(
            kind=learner,  # type: ignore[arg-type]
            updates=updates,
            adopt_running_mean=False,
        ),
        optimizer=OptimizerConfig(name="adam", learning_rate=2e-2),
        batch_size=20,
        frames=5,
        divergence="label",
        readout_steps=2.0,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TaskData:
    folder = write_mnist(tmp_path_factory.mktemp("mnist"), train=20, test=10)
    return open_data(config("ltc", "plain"), folder)


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("neuron", NEURON_NAMES)
def test_twenty_steps_lower_the_loss(data: TaskData, neuron: str, learner: str) -> None:
    if learner == "eprop" and neuron not in ONLINE:
        with pytest.raises(ConfigError, match=r"e-?prop"):
            TaskRun(config(neuron, learner), data)
        return
    run = TaskRun(config(neuron, learner), data)
    assert run.evaluate(data.train).loss > KNOWING_NOTHING - 0.02
    for _ in range(20):
        run.advance()
    assert run.evaluate(data.train).loss < KNOWING_NOTHING - 0.04
