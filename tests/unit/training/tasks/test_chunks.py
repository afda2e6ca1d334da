"""Steps in chunks are the steps one by one."""

import pytest
import torch

from training.config import LearnerConfig
from training.tasks.chunks import LARGEST, Chunks, Walk, chunk_length
from training.tasks.network import TaskNetwork
from training.tasks.notation import parse_network


@pytest.mark.parametrize(
    ("kind", "updates", "steps", "length"),
    [
        ("fptt-k", 7, 784, 16),  # segments of 112
        ("fptt-k", 28, 784, 14),
        ("fptt-k", 10, 784, 1),  # 78, 157, 235 and so on
        ("fptt-k", 0, 20, 2),
        ("fptt", 0, 784, 1),
        ("bptt", 0, 784, 16),
        ("bptt", 0, 13, 13),
        ("bptt", 0, 17, 1),
    ],
)
def test_chunks_fit_into_segments(kind: str, updates: int, steps: int, length: int) -> None:
    config = LearnerConfig(kind=kind, updates=updates)  # type: ignore[arg-type]
    assert chunk_length(config, steps) == length <= LARGEST


@pytest.mark.parametrize("length", [1, 3, 6])
def test_a_walk_in_chunks_is_a_walk_step_by_step(length: int) -> None:
    torch.manual_seed(0)
    network = TaskNetwork(parse_network("4R-3I"), (2,), "ltc")
    inputs = 3 * torch.rand(12, 5, 2)
    walk, state = Walk(Chunks(network, length), inputs), network.initial_state(5)
    plain = network.initial_state(5)
    for t, x in enumerate(inputs):
        output, state = walk.step(t, state)
        expected, plain = network(x, plain)
        assert torch.equal(output, expected)
        assert torch.equal(walk.output, expected)
    assert torch.equal(state["0"].spikes, plain["0"].spikes)
    assert 0 < plain["0"].spikes.mean() < 1
