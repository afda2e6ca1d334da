"""A spiking network that starts from its twin says nearly the same as it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from spyv4.config import NeuronConfig
from spyv4.errors import CheckpointError
from spyv4.network.spyv4 import SPYv4
from tests.helpers.tiny_model import tiny_config
from training.warm_start import _two_levels, start_from_twin

TWIN = replace(tiny_config(), neuron=NeuronConfig(kind="leaky-relu"))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def twin(images: Tensor) -> SPYv4:
    """With batch statistics of the pictures, as after training."""
    torch.manual_seed(1)
    network = SPYv4(TWIN).train()
    with torch.no_grad():
        for _ in range(30):
            network.step(images, network.initial_state(8, (64, 64)))
    return network.eval()


def test_two_levels_are_the_best_in_least_squares() -> None:
    values = torch.randn(1, 1, 40, 50, generator=torch.Generator().manual_seed(3)) + 0.3
    level = float(_two_levels(values))

    def error(m: float) -> float:
        return float((values.clamp(min=0) - m * (values > m / 2)).square().mean())

    others = [error(factor * level) for factor in (0.5, 0.8, 1.25, 2.0)]
    assert error(level) < min(others)


def test_layers_fire_where_their_twin_is_active(twin: SPYv4, images: Tensor) -> None:
    torch.manual_seed(2)
    spiking = SPYv4(tiny_config())
    start_from_twin(spiking, twin, images)
    spiking.train()  # batch norm of the moment: what a message of 0 or 1 changes is normalised
    with torch.no_grad():
        state = spiking.initial_state(8, (64, 64))
        _, _, spikes = spiking.step_from_current(spiking.current(images), state)
        values = twin.step_from_current(twin.current(images), twin.initial_state(8, (64, 64)))[2]
    first = spikes["stem1"].flatten(), values["stem1"].flatten()
    assert float(torch.corrcoef(torch.stack(first))[0, 1]) > 0.7
    for name, fired in spikes.items():
        pair = torch.stack((fired.flatten(), values[name].flatten()))
        assert float(torch.corrcoef(pair)[0, 1]) > 0.1, name
        assert 0.05 < float(fired.mean()) < 0.7, name


def test_a_twin_of_other_layers_is_refused(twin: SPYv4, images: Tensor) -> None:
    wider = SPYv4(replace(tiny_config(), width_multiple=0.25))
    with pytest.raises(CheckpointError, match="use the same width"):
        start_from_twin(wider, twin, images)
