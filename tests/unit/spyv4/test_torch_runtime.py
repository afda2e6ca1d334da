"""The network in PyTorch: precisions, devices, and compiled."""

import functools

import pytest
import torch
from torch._dynamo.utils import counters

from spyv4 import Detector
from spyv4.errors import RuntimeUnavailableError
from spyv4.network.spyv4 import SPYv4State
from spyv4.preprocess import stretch, to_images
from spyv4.runtime.base import Runtime
from spyv4.runtime.torch_runtime import TorchRuntime, can_compile, pick_device
from tests.helpers.looking import ANY, assert_same, frame
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


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not can_compile()
    with pytest.raises(RuntimeUnavailableError, match=r"g\+\+"):
        TorchRuntime(tiny_model(), torch.device("cpu"), compile_step=True)


def test_step_is_captured_whole_by_the_compiler(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph that `torch.compile` would compile, run as it is, with what activity needs."""
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    whole = functools.partial(torch.compile, backend="eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", whole)
    runtime = TorchRuntime(
        tiny_model(), torch.device("cpu"), precision="float32", compile_step=True
    )
    assert runtime.description.startswith("torch compiled, float32")
    found = Detector(runtime).detect(frame(), 2, activity=True, **ANY)
    assert_same(found, detector.detect(frame(), 2, **ANY))
    assert found.firing_rates == detector.detect(frame(), 2, activity=True).firing_rates


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # its own
def test_compiled_network_finds_what_the_eager_one_finds(detector: Detector) -> None:
    """Compiled for real, in half a minute the first time on a machine."""
    graphs = counters["stats"]["unique_graphs"]
    runtime = TorchRuntime(
        tiny_model(), torch.device("cpu"), precision="float32", compile_step=True
    )
    found = list(Detector(runtime).reads(frame(), 3, **ANY))
    assert counters["stats"]["unique_graphs"] > graphs
    for compiled, eager in zip(found, detector.reads(frame(), 3, **ANY), strict=True):
        assert_same(compiled, eager)


def test_8_bits_are_for_the_processor() -> None:
    with pytest.raises(RuntimeUnavailableError, match="8-bit convolutions run on the CPU"):
        TorchRuntime(tiny_model(), torch.device("cuda"), precision="int8")
