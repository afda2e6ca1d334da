"""The network in PyTorch: precisions, devices, and compiled."""

import pytest
import torch

from spyv4 import Detector
from spyv4.errors import ArgumentError, RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4State
from spyv4.preprocess import stretch, to_images
from spyv4.runtime.base import Runtime
from spyv4.runtime.torch_runtime import TorchRuntime, pick_device
from tests.helpers.looking import frame
from tests.helpers.tiny_model import tiny_model


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.from_model(tiny_model())


def state_of(runtime: Runtime) -> SPYv4State:
    return runtime.initial_state(1, (64, 64))


def test_half_precision_runs_and_agrees_roughly() -> None:
    detector = Detector.from_model(tiny_model(), precision="bfloat16")
    assert "bfloat16" in detector.runtime.description
    runtime = detector.runtime
    images = to_images(stretch([frame()], (64, 64)))
    result = runtime.step(runtime.prepare(images), state_of(runtime))
    assert {u.dtype for u in result.state.layers["stem1"]} == {torch.bfloat16}
    exact = Detector.from_model(tiny_model()).runtime
    expected = exact.step(exact.prepare(images), state_of(exact))
    u, near = result.state.layers["stem1"].u.float(), expected.state.layers["stem1"].u
    assert ((u - near).abs() < 0.02).float().mean() > 0.95
    found = detector.detect(frame(), 2, activity=True, score_threshold=0.0)
    assert len(found) == 100  # no score is above NaN


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_said() -> None:
    for device in ("cuda", "cuda:0", "cuda:7"):
        with pytest.raises(RuntimeUnavailableError, match="use --device cpu"):
            pick_device(device)
    assert pick_device("auto") == torch.device("cpu")


def test_a_gpu_beyond_the_last_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(RuntimeUnavailableError, match=r"no cuda:2 here; the last GPU is cuda:1"):
        pick_device("cuda:2")


def test_8_bits_are_for_the_processor() -> None:
    with pytest.raises(RuntimeUnavailableError, match="8-bit convolutions run on the CPU"):
        TorchRuntime(tiny_model(), torch.device("cuda"), precision="int8")


def test_a_precision_must_be_named() -> None:
    with pytest.raises(ArgumentError, match="float32, bfloat16, int8, not 'auto'"):
        TorchRuntime(tiny_model(), torch.device("cpu"), precision="auto")  # type: ignore[arg-type]
