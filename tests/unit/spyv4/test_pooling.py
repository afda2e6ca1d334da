"""Max-pooling in training is torch's."""

import pytest
import torch
from torch.nn import functional

from spyv4.network.pooling import max_pool_2x2


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("compiled", [False, True])
def test_values_and_gradients_are_those_of_torch_ties_among_spikes_too(
    memory_format: torch.memory_format, compiled: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    spikes = (torch.randn(2, 6, 8, 6, generator=generator) > 0).float()
    potentials = torch.randn(2, 6, 8, 6, generator=generator)
    weight = torch.randn(2, 6, 4, 3, generator=generator)
    pool = torch.compile(max_pool_2x2, backend="aot_eager") if compiled else max_pool_2x2
    for values in (spikes, potentials):
        expected, mine = (
            values.clone(memory_format=memory_format).requires_grad_() for _ in range(2)
        )
        pooled, mine_pooled = functional.max_pool2d(expected, 2), pool(mine)
        (pooled * weight).sum().backward()
        (mine_pooled * weight).sum().backward()
        assert torch.equal(mine_pooled, pooled)
        assert mine.grad is not None
        assert expected.grad is not None
        assert torch.equal(mine.grad, expected.grad)
