"""What only a CUDA GPU can show; run with `pytest -m gpu`."""

import copy

import pytest
import torch
from torch.utils._pytree import tree_map

from spyv4.errors import RuntimeUnavailableError
from spyv4.runtime.torch_runtime import TorchRuntime, pick_device
from tests.helpers.tiny_model import firing_rates, tiny_model

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_asking_for_a_gpu_without_one_is_an_error() -> None:
    with pytest.raises(RuntimeUnavailableError, match="--device cpu"):
        pick_device("cuda")


@pytest.mark.gpu
@needs_gpu
def test_gpu_agrees_with_cpu_in_float32() -> None:
    model = tiny_model()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    rates = []
    for device in ("cpu", "cuda"):
        runtime = TorchRuntime(copy.deepcopy(model), torch.device(device), precision="float32")
        rates.append(firing_rates(runtime, images))
    # A potential within rounding of its threshold may spike on one side alone.
    torch.testing.assert_close(rates[0], rates[1], atol=0.01, rtol=0.0)


@pytest.mark.gpu
@needs_gpu
def test_memory_of_a_read_does_not_grow_with_the_reads() -> None:
    model = tiny_model().cuda()
    images = torch.rand(8, 3, 64, 64, device="cuda")
    peaks = []
    for reads in (1, 16):
        torch.cuda.reset_peak_memory_stats()
        state = model.initial_state(8, (64, 64))
        for _ in range(reads):
            maps, state = model.step(images, state)
            (maps.p5.sum() + maps.p4.sum()).backward()  # type: ignore[no-untyped-call]
            state = tree_map(torch.Tensor.detach, state)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= 1.05 * peaks[0]
