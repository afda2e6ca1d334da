"""The automatic precision follows a measurement."""

import pytest
import torch

from spyv4.runtime import precision
from spyv4.runtime.precision import ROUNDS, faster_precision, read_time_s
from spyv4.runtime.torch_runtime import TorchRuntime
from tests.helpers.tiny_model import tiny_model

CPU = torch.device("cpu")


def pretend(monkeypatch, float32_s, bfloat16_s):
    times = {torch.float32: float32_s, torch.bfloat16: bfloat16_s}
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "read_time_s", lambda model, dtype, device: times[dtype])


@pytest.mark.parametrize(
    ("float32_s", "bfloat16_s", "chosen"),
    [
        (0.113, 0.129, torch.float32),  # a Xeon with avx512_bf16 and without AMX
        (0.100, 0.095, torch.float32),  # near a tie: the exact one
        (0.148, 0.058, torch.bfloat16),
    ],
)
def test_the_faster_one_is_taken(monkeypatch, float32_s, bfloat16_s, chosen):
    pretend(monkeypatch, float32_s, bfloat16_s)
    runtime = TorchRuntime(tiny_model(), CPU)
    assert runtime.dtype == chosen
    assert next(runtime.model.parameters()).dtype == chosen
    assert str(chosen).removeprefix("torch.") in runtime.description


def test_a_named_precision_is_not_measured(monkeypatch):
    pretend(monkeypatch, 1.0, 0.1)
    assert TorchRuntime(tiny_model(), CPU, precision="float32").dtype == torch.float32
    pretend(monkeypatch, 0.1, 1.0)
    assert TorchRuntime(tiny_model(), CPU, precision="bfloat16").dtype == torch.bfloat16


def test_without_instructions_for_it_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    monkeypatch.setattr(precision, "read_time_s", lambda *_: pytest.fail("measured"))
    assert faster_precision(tiny_model().fold(), CPU) == torch.float32


def test_the_best_of_some_rounds_counts_and_the_first_does_not(monkeypatch):
    """One slow read, as a busy machine has them, changes nothing."""
    times = {torch.float32: iter([9, 1, 1, 1]), torch.bfloat16: iter([0, 9, 9, 2])}
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "read_time_s", lambda model, dtype, device: next(times[dtype]))
    assert faster_precision(tiny_model().fold(), CPU) == torch.float32
    assert ROUNDS == 3


def test_a_real_read_takes_time_and_leaves_the_network_as_it_was():
    model = tiny_model().fold()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert read_time_s(model, torch.float32, CPU) > 0
    faster_precision(model, CPU)
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
