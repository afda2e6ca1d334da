import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from spyv4.errors import ConfigError
from tests.helpers.tiny_model import tiny_model
from training.config import OptimizerConfig
from training.optimisation import AveragedModel, build_optimizer, learning_rate, swapped


def test_constant_rate_after_the_warm_up() -> None:
    config = OptimizerConfig(learning_rate=0.8, warmup_steps=4)
    rates = [learning_rate(config, step, 10) for step in range(6)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_linear_rate_falls_to_its_share() -> None:
    config = OptimizerConfig(learning_rate=1.0, schedule="linear", final_share=0.1)
    assert [learning_rate(config, step, 10) for step in (0, 5, 10, 99)] == pytest.approx(
        [1.0, 0.55, 0.1, 0.1]
    )


def test_cosine_rate_starts_after_the_warm_up() -> None:
    config = OptimizerConfig(learning_rate=2.0, schedule="cosine", final_share=0.0, warmup_steps=2)
    quarter = (1 + math.cos(math.pi / 4)) / 2
    assert [learning_rate(config, step, 10) for step in (0, 1, 2, 4, 6, 10)] == pytest.approx(
        [1.0, 2.0, 2.0, 2 * quarter, 1.0, 0.0]
    )
    assert learning_rate(config, 3, 2) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adagrad", torch.optim.Adagrad),
        ("adam", torch.optim.Adam),
        ("adamax", torch.optim.Adamax),
        ("adamw", torch.optim.AdamW),
        ("sgd", torch.optim.SGD),
    ],
)
def test_weight_decay_acts_on_kernels_alone(name: str, kind: type) -> None:
    model = tiny_model()
    optimizer = build_optimizer(model, OptimizerConfig(name=name, weight_decay=0.1))  # type: ignore[arg-type]
    assert type(optimizer) is kind
    by_decay = {group["weight_decay"]: group["params"] for group in optimizer.param_groups}
    assert {p.ndim for p in by_decay[0.1]} == {4}
    assert {p.ndim for p in by_decay[0.0]} == {1}
    assert sum(len(params) for params in by_decay.values()) == len(list(model.parameters()))


def test_average_follows_the_stated_decay() -> None:
    """Decay min(0.5, (1 + n) / (10 + n)): 2/11, 3/12, ..."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = AveragedModel(model, 0.5)
    expected = 1.0
    for update in range(1, 20):
        with torch.no_grad():
            model.weight.fill_(float(update))
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * update
        assert average.values[0].item() == pytest.approx(expected)
    with average.swapped_in():
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 19.0


def test_average_has_the_statistics_but_not_the_counters() -> None:
    model = nn.BatchNorm2d(3)
    average = AveragedModel(model, 0.9)
    assert len(average.values) == 4  # weight, bias, mean, variance
    model(torch.randn(4, 3, 2, 2) + 5)
    average.update()
    assert (average.values[2] > 0.1).all()


def test_without_decay_nothing_is_kept() -> None:
    assert AveragedModel(nn.Linear(2, 2), 0.0).values == []


def test_swapped_values_come_back_after_an_error() -> None:
    targets, values = [torch.tensor([1.0])], [torch.tensor([2.0])]
    with pytest.raises(KeyError, match="within"), swapped(targets, values):
        raise KeyError(f"within: {targets[0].item()}")
    assert (targets[0].item(), values[0].item()) == (1.0, 2.0)


def test_step_schedule_falls_to_a_tenth_at_each_share() -> None:
    config = OptimizerConfig(learning_rate=1.0, schedule="step", step_at=(0.5, 0.9))
    rates = [learning_rate(config, step, 10) for step in (0, 4, 5, 8, 9, 20)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    halved = replace(config, step_factor=0.5)
    assert [learning_rate(halved, step, 10) for step in (4, 5, 9)] == [1.0, 0.5, 0.25]
    with pytest.raises(ConfigError, match="step_at must rise"):
        OptimizerConfig(step_at=(0.9, 0.5))
