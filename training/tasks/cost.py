"""What learning costs against the length of a sequence: memory and time, by learning rule."""

import json
import sys
import time
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spyv4.threads import use_threads
from training.config import LearnerConfig
from training.learning import build_learner
from training.memory import apart, mebibytes
from training.tasks.network import NeuronName, TaskNetwork
from training.tasks.notation import find_network


class Load(NamedTuple):
    """A network and what it is given, over and over: noise, drawn at every step and not kept.

    Attributes:
        network: in the paper's notation.
        inputs: values a step.
        batch: sequences at once.
    """

    network: str
    inputs: int
    batch: int


class Cost(NamedTuple):
    """Of learning from sequences, in a process of its own with one thread.

    Attributes:
        before_mib: resident memory when network and learner were there.
        peak_mib: the most while two sequences were learned from.
        seconds: of the second sequence.
    """

    before_mib: float
    peak_mib: float
    seconds: float

    @property
    def learning_mib(self) -> float:
        """What learning took besides."""
        return self.peak_mib - self.before_mib


def measure_cost(load: Load, rule: str, steps: int) -> Cost:
    """Learn from two sequences (Linux).

    Args:
        load: what learns.
        rule: kind of learning rule; `eprop` is for adaptive LIF neurons, all others here for LTC.
        steps: of a sequence.
    """
    asked = (tuple(load), rule, steps)
    return Cost(**apart(f"from training.tasks.cost import learn; learn(*{asked!r})"))


def learn(load: tuple[str, int, int], rule: Any, steps: int) -> None:
    """Learn in this process, and write its cost as JSON; see `measure_cost`."""
    use_threads(1)
    text, inputs, batch = load
    torch.manual_seed(0)
    neuron: NeuronName = "alif" if rule == "eprop" else "ltc"
    network = TaskNetwork(find_network(text), (inputs,), neuron)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    learner = build_learner(network, optimizer, LearnerConfig(kind=rule, adopt_running_mean=False))

    def step(_: int, state: Any) -> tuple[Tensor, Any]:
        output: tuple[Tensor, Any] = network(torch.rand(batch, inputs), state)
        return output

    def once(length: int) -> float:
        started = time.perf_counter()
        state = network.initial_state(batch)
        learner.sequence(step, lambda out, _: out.square().mean(), state, length)
        return time.perf_counter() - started

    once(1)  # what is made once, such as the optimiser's moments
    before = mebibytes("VmRSS:")
    once(steps)
    seconds = once(steps)
    sys.stdout.write(json.dumps(Cost(before, mebibytes("VmHWM:"), seconds)._asdict()))
