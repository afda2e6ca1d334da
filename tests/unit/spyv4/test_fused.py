"""Which neurons of a network are fused, and what is said where Triton is missing."""

import importlib.util

import pytest
import torch

from spyv4.neurons import LTC
from spyv4.runtime import fused
from spyv4.runtime.fused import fuse_neurons, has_triton
from spyv4.runtime.torch_runtime import TorchRuntime
from tests.helpers.tiny_model import tiny_model

GPU = torch.device("cuda")


@pytest.fixture
def triton(monkeypatch):
    """Whether Triton can be found, and for which GPU."""

    def there(found: bool, capability: tuple[int, int] = (9, 0)) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if found else None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)

    return there


def test_triton_is_there_for_gpus_that_it_compiles_for(triton) -> None:
    triton(True)
    assert has_triton(GPU)
    triton(True, (6, 1))
    assert not has_triton(GPU)
    triton(False)
    assert not has_triton(GPU)


def test_without_triton_the_neurons_stay_as_they_are(monkeypatch) -> None:
    monkeypatch.setattr(fused, "has_triton", lambda device: False)
    model = tiny_model()
    assert not fuse_neurons(model, GPU)
    assert all(type(layer.neuron) is LTC for layer in model.spiking.values())


@pytest.mark.parametrize("kind", ["lif", "adaptive-ltc", "leaky-relu"])
def test_other_neurons_have_nothing_to_fuse(monkeypatch, kind) -> None:
    monkeypatch.setattr(fused, "has_triton", lambda device: False)
    model = tiny_model(neuron={"kind": kind})
    before = [layer.neuron for layer in model.spiking.values()]
    assert fuse_neurons(model, GPU)
    assert before == [layer.neuron for layer in model.spiking.values()]


def test_the_description_says_that_triton_is_missing() -> None:
    runtime = TorchRuntime(tiny_model(), torch.device("cpu"))
    assert runtime.description == "torch eager, float32, channels-last, cpu"
    runtime._unfused = True  # as on a GPU
    assert runtime.description.endswith(", cpu, neurons without Triton")
