"""8 bits in ONNX: the arithmetic of the torch runtime's, as products that ONNX Runtime fuses."""

import contextlib
import copy
import io
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.utils._pytree import tree_leaves

from spyv4 import Detector
from spyv4.checkpoint import save_model
from spyv4.commands.export import export_command
from spyv4.errors import ArgumentError
from spyv4.network.table import LAYER_NAMES, ROWS
from spyv4.runtime.int8 import has_fast_int8
from spyv4.runtime.onnx_check import check_export
from spyv4.runtime.onnx_export import export_onnx
from spyv4.runtime.onnx_file import open_onnx
from spyv4.runtime.onnx_runtime import OnnxRuntime
from spyv4.runtime.torch_runtime import TorchRuntime
from tests.helpers.tiny_model import firing_rates, pictures, same, tiny_model, wide_model

SIZE = (64, 96)
CPU = ["CPUExecutionProvider"]


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file that `spyv4-export` wrote, and what it said; exporting takes ten seconds."""
    folder = tmp_path_factory.mktemp("onnx8")
    weights, path = folder / "tiny.safetensors", folder / "tiny.onnx"
    save_model(wide_model(readout="leaky"), weights)
    arguments = ["--weights", str(weights), "--output", str(path), "--image-size", "64", "96"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = export_command([*arguments, "--precision", "int8"])
    assert code == 0
    return path, said.getvalue()


@pytest.fixture(scope="session")
def exported(report: tuple[Path, str]) -> Path:
    return report[0]


def test_command_checks_what_it_wrote(report: tuple[Path, str]) -> None:
    assert report[1].count("(ok)") == 2


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (160, 32)])
def test_file_rounds_as_torch_does_at_any_size(exported: Path, size: tuple[int, int]) -> None:
    for check in check_export(wide_model(readout="leaky"), exported, size):
        assert check.passed
    for check in check_export(wide_model(1, readout="leaky"), exported, size):
        assert not check.passed


def test_from_rest_nothing_but_rounding_differs(exported: Path) -> None:
    """Far below what is allowed for: at this size no value is at the edge of a step."""
    zero, _ = check_export(wide_model(readout="leaky"), exported, SIZE)
    assert zero.differing_share == 0


@pytest.mark.skipif(not has_fast_int8(), reason="no 8-bit dot products here")
def test_runtime_fires_as_torch_in_8_bits(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Potentials in float32, as in the file.
    monkeypatch.setattr("spyv4.runtime.torch_runtime.has_bfloat16", lambda _: False)
    model = wide_model(readout="leaky")
    torch_runtime = TorchRuntime(model, torch.device("cpu"), precision="int8")
    onnx_runtime = OnnxRuntime(exported, CPU)
    assert onnx_runtime.description == "ONNX Runtime, int8 convolutions, CPUExecutionProvider"
    for size in (SIZE, (96, 160)):
        seen = pictures(3, size)
        # Later a sum in another order puts a value on another step, and spikes follow.
        rates = [firing_rates(runtime, seen, 2) for runtime in (torch_runtime, onnx_runtime)]
        assert rates[0].mean(0).min() > 0.02
        torch.testing.assert_close(rates[0], rates[1], atol=0.02, rtol=0.0)


def test_runtime_does_what_the_file_says(exported: Path) -> None:
    """Its own fusing of products and biases changes nothing."""
    runtime, images = OnnxRuntime(exported, CPU), pictures(2, SIZE)
    whole = onnxruntime.InferenceSession(str(exported), providers=CPU)
    state = runtime.initial_state(2, SIZE, seed=3)
    given = [images, *(u.permute(0, 2, 3, 1) for u in tree_leaves(state.layers))]
    given += tree_leaves(state.readout)
    names = [node.name for node in whole.get_inputs()]
    outputs = whole.run(
        None, {n: np.ascontiguousarray(t) for n, t in zip(names, given, strict=True)}
    )
    result = runtime.step(runtime.prepare(images), state, activity=True)
    for ours, theirs in zip(result.maps, outputs, strict=False):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    spikes = dict(zip((node.name for node in whole.get_outputs()), outputs, strict=True))
    rates = [spikes[f"spikes.{name}"].mean((1, 2, 3)) for name in LAYER_NAMES]
    assert result.activity is not None
    np.testing.assert_allclose(result.activity.firing_rates, np.stack(rates, 1), atol=1e-6)


def test_states_are_values_that_need_no_copy(exported: Path) -> None:
    runtime = OnnxRuntime(exported, CPU)
    prepared = runtime.prepare(pictures(2, SIZE))
    held = [runtime.initial_state(2, SIZE, seed=1)]
    for _ in range(3):
        held.append(runtime.step(prepared, held[-1]).state)
    for u in tree_leaves([state.layers for state in held]):
        assert u.is_contiguous(memory_format=torch.channels_last)
    copies = copy.deepcopy(held)
    for state in held:
        runtime.step(runtime.prepare(pictures(2, SIZE, seed=1)), state)
    assert same(copies, held)
    strange = torch.utils._pytree.tree_map(lambda u: u.contiguous(), held[1])
    assert same(runtime.step(prepared, strange).state, held[2])


def test_products_are_fused(exported: Path, tmp_path: Path) -> None:
    """As ONNX Runtime runs it: no product in float32, and no float of a spike but for the heads."""
    file = open_onnx(exported, on_cpu=True)
    assert (file.precision, file.channels_last) == ("int8", True)
    elsewhere = onnx.load_from_string(open_onnx(exported, on_cpu=False).rest).graph
    assert not any(node.domain for node in elsewhere.node)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(file.rest, options, providers=CPU)
    nodes = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    # One product a rate, and one an input but for the pixels'.
    assert nodes["MatMulIntegerToFloat"] == 2 * len(ROWS) - 1
    assert nodes["Conv"] == 2
    assert nodes["MatMul"] == nodes["DequantizeLinear"] == nodes["Gemm"] == 0
    assert nodes["QuantizeLinear"] == len(ROWS)
    whole = onnx.load(exported).graph
    kinds = {entry.name: entry.data_type for entry in whole.initializer}
    weights = [name for name in kinds if name.endswith(".int8")]
    assert len(weights) == 2 * len(ROWS) - 1
    assert {kinds[name] for name in weights} == {onnx.TensorProto.INT8}


def test_detector_runs_the_file(exported: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    detector = Detector.load(exported)
    found = detector.detect([frame, frame], 2, score_threshold=0.002, activity=True)
    assert len(found[0]) == len(found[1]) > 3


def test_networks_without_spikes_are_refused(tmp_path: Path) -> None:
    twin = tiny_model(neuron={"kind": "leaky-relu"})
    with pytest.raises(ArgumentError, match="need spikes"):
        export_onnx(twin, tmp_path / "twin.onnx", SIZE, precision="int8")


@pytest.mark.slow
def test_other_neurons_are_exported_too(tmp_path: Path) -> None:
    """Those that hand their spikes on in their state, and mix by concatenation."""
    changes = {"kind": "adaptive-ltc", "fusion": "concat"}
    path = tmp_path / "adaptive.onnx"
    for precision in ("float32", "int8"):
        export_onnx(tiny_model(neuron=changes), path, SIZE, precision=precision)  # type: ignore[arg-type]
        for check in check_export(tiny_model(neuron=changes), path, (96, 64)):
            assert check.passed
        rates = firing_rates(OnnxRuntime(path, CPU), pictures(2, SIZE))
        assert rates.mean(0).min() > 0.01
