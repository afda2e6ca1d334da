"""The twin as a teacher: nothing to say where one is like it, and a way down for every layer."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from spyv4.checkpoint import save_model
from spyv4.config import ModelConfig, NeuronConfig
from spyv4.errors import CheckpointError, ConfigError
from spyv4.network.spyv4 import SPYv4
from spyv4.network.table import LAYER_NAMES
from tests.helpers.tiny_model import tiny_config
from training.config import DistillationConfig, TrainingConfig
from training.distillation.twin import TwinTeacher
from training.read import Read, Seen

LEAKY = NeuronConfig(kind="leaky-relu")


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, images: Tensor) -> str:
    """A twin with batch statistics of the pictures, sure of a box here and there."""
    torch.manual_seed(1)
    twin = SPYv4(replace(tiny_config(), neuron=LEAKY)).train()
    with torch.no_grad():
        for head in twin.outputs:
            head.weight.normal_(std=0.2)
        for _ in range(30):
            twin.step(images / 255, twin.initial_state(4, (64, 64)))
    path = tmp_path_factory.mktemp("twin") / "twin.safetensors"
    save_model(twin.eval(), path)
    return str(path)


def teacher(weights: str, model: ModelConfig | None = None, **config: float) -> TwinTeacher:
    return TwinTeacher(
        weights,
        TrainingConfig(model=model or tiny_config(), distillation=DistillationConfig(**config)),
        torch.device("cpu"),
        torch.float32,
        compile_step=False,
    )


def test_who_is_like_the_twin_hears_nothing(weights: str, images: Tensor) -> None:
    twin = teacher(weights)
    view = twin(images)
    assert float(twin.distance(view.maps, view.messages, view)) == pytest.approx(0, abs=1e-4)
    others = tuple(1 + each for each in view.maps)
    assert float(twin.distance(others, view.messages, view)) > 0.1
    silent = [torch.zeros_like(each) for each in view.messages]
    assert float(twin.distance(view.maps, silent, view)) == pytest.approx(1, abs=1e-4)


def test_a_place_without_an_object_is_judged_by_its_objectness_alone(
    weights: str, images: Tensor
) -> None:
    """Box and classes count in proportion to the twin's objectness."""
    twin = teacher(weights, layer_weight=0.0)
    view = twin(images)
    outputs = tiny_config().outputs_per_anchor
    empty = tuple(each.clone() for each in view.maps)
    for each in empty:
        each.unflatten(1, (-1, outputs))[:, :, 4] = -20.0
    view = view._replace(maps=empty)
    other = tuple(each.clone() for each in empty)
    for each in other:
        each.unflatten(1, (-1, outputs))[:, :, :4] += 3.0
        each.unflatten(1, (-1, outputs))[:, :, 5:] += 3.0
    assert float(twin.distance(other, view.messages, view)) == pytest.approx(0, abs=1e-3)
    for each in other:
        each.unflatten(1, (-1, outputs))[:, :, 4] = 0.0
    assert float(twin.distance(other, view.messages, view)) > 10


def test_every_layer_and_every_head_goes_down_to_it(weights: str, images: Tensor) -> None:
    """Layers alone, and answers alone: some steps of gradient descent."""
    for kept in ("layer_weight", "answer_weight"):
        others = {"layer_weight": 0.0, "answer_weight": 0.0} | {kept: 1.0}
        twin = teacher(weights, **others)
        torch.manual_seed(2)
        model = SPYv4(tiny_config()).train()
        read = Read(model, torch.float32, compile_step=False, shown=LAYER_NAMES)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

        def distance(read: Read = read, twin: TwinTeacher = twin) -> tuple[Tensor, Seen]:
            seen, _ = read(images, read.at_rest(images.shape))
            return twin.distance(seen.maps, list(seen.spikes.values()), twin(images)), seen

        first, seen = distance()
        assert list(seen.spikes) == list(LAYER_NAMES)
        first.backward()  # type: ignore[no-untyped-call]
        moved = [bool(layer.synapse.conv.weight.grad.any()) for layer in model.spiking.values()]
        assert all(moved)
        for _ in range(15):
            optimizer.zero_grad()
            last, _ = distance()
            last.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        assert last.item() < 0.95 * first.item()


def test_a_network_twice_as_wide_is_taught_two_channels_a_value(
    weights: str, images: Tensor
) -> None:
    twin = teacher(weights, tiny_config(width_multiple=0.25), answer_weight=0.0)
    view = twin(images)
    twice = [each.repeat_interleave(2, 1) for each in view.messages]
    assert float(twin.distance(view.maps, twice, view)) == pytest.approx(0, abs=1e-4)
    shuffled = [each.roll(1, 1) for each in twice]
    assert float(twin.distance(view.maps, shuffled, view)) > 0.2


def test_who_cannot_be_a_twin_teacher_is_refused(weights: str, tmp_path: Path) -> None:
    spiking = tmp_path / "spiking.safetensors"
    save_model(SPYv4(tiny_config()), spiking)
    with pytest.raises(CheckpointError, match="spikes"):
        teacher(str(spiking))
    with pytest.raises(ConfigError, match=r"0\.125 does not go into the network's, 0\.1875"):
        teacher(weights, tiny_config(width_multiple=0.1875))
    with pytest.raises(CheckpointError, match="its class_names is"):
        teacher(weights, tiny_config(class_names=("cat",)))
    with pytest.raises(ConfigError, match="leave out --twin-teacher"):
        teacher(weights, replace(tiny_config(), neuron=LEAKY))
