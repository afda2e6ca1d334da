"""Several steps of a network in one call, so that compiling them pays."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from training.config import LearnerConfig
from training.learning.segments import segments
from training.tasks.network import TaskNetwork

LARGEST = 16
"""Steps a call; more take longer to compile and win nothing."""


class Chunks(nn.Module):
    """So many steps of a network in one call.

    Compiled, a call of one step costs more than it wins: most of a small network's time goes into
    calling its operators one by one, forward and backward.

    Args:
        network: whose steps.
        length: steps a call.
    """

    def __init__(self, network: TaskNetwork, length: int = 1) -> None:
        super().__init__()
        self.network, self.length = network, length

    def forward(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """`length` steps.

        Args:
            inputs: [length, B, *inputs].
            state: before the first of them.

        Returns:
            The outputs of all, [length, B, outputs], and the state after the last one.
        """
        outputs = []
        for x in inputs.unbind():
            output, state = self.network(x, state)
            outputs.append(output)
        return torch.stack(outputs), state


class Walk:
    """Goes through a batch of sequences step by step, and looks at it chunk by chunk.

    The state that it gives after a step that is not the last of its chunk is the one after the
    chunk: nothing may look into it or cut gradients there (see `chunk_length`).

    Args:
        chunks: of the network.
        inputs: [T, B, *inputs]; T is a multiple of the chunks' length.

    Attributes:
        output: of the last step, [B, outputs].
    """

    def __init__(self, chunks: Chunks, inputs: Tensor) -> None:
        self.output = inputs
        self._chunks, self._inputs = chunks, inputs

    def step(self, t: int, state: Any) -> tuple[Tensor, Any]:
        """Step t, counted from 0, after the steps before it."""
        length = self._chunks.length
        if t % length == 0:
            self._outputs, self._state = self._chunks(self._inputs[t : t + length], state)
        self.output = self._outputs[t % length]
        return self.output, self._state


def chunk_length(config: LearnerConfig, steps: int) -> int:
    """The most steps that fit into every segment of a rule a whole number of times.

    Args:
        config: the rule.
        steps: of a sequence.
    """
    bounds = (bound for segment in segments(config, steps) for bound in segment)
    common = math.gcd(steps, *bounds)
    return max(length for length in range(1, LARGEST + 1) if common % length == 0)
