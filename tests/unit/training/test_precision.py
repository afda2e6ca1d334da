"""The choice of the training precision by timing."""

import pytest
import torch

from spyv4.network.spyv4 import SPYv4
from tests.helpers.tiny_model import tiny_config
from training import precision


@pytest.fixture
def model() -> SPYv4:
    torch.manual_seed(0)
    return SPYv4(tiny_config()).eval()


@pytest.fixture
def bfloat16_takes(monkeypatch: pytest.MonkeyPatch) -> object:
    """Sets what a step in bfloat16 takes, as a share of one in float32."""

    def takes(share: float) -> None:
        def seconds(read: precision.Read, _: object) -> float:
            return share if read.dtype == torch.bfloat16 else 1.0

        monkeypatch.setattr(precision, "_step_s", seconds)
        monkeypatch.setattr(precision, "has_bfloat16", lambda _: True)

    return takes


@pytest.mark.parametrize(
    ("share", "chosen"), [(0.5, "bfloat16"), (0.95, "float32"), (1.5, "float32")]
)
def test_bfloat16_is_taken_where_it_is_clearly_faster(
    model: SPYv4, bfloat16_takes: object, share: float, chosen: str
) -> None:
    bfloat16_takes(share)  # type: ignore[operator]
    assert precision.faster_training(model) == chosen


def test_nothing_is_measured_without_instructions_for_it(
    model: SPYv4, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: False)
    monkeypatch.setattr(precision, "_step_s", lambda *_: pytest.fail("measured"))
    assert precision.faster_training(model) == "float32"


def test_the_model_is_as_before(model: SPYv4, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    precision.faster_training(model)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
