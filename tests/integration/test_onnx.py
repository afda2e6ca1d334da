"""The one-read step as ONNX: the same answers as torch, for any batch, at any state."""

import contextlib
import copy
import io
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime import OrtValue
from torch import Tensor
from torch.utils._pytree import tree_leaves

from spyv4 import Detector, SPYv4
from spyv4.checkpoint import load_model, save_model
from spyv4.commands.export import export_command
from spyv4.errors import (
    ArgumentError,
    CheckpointError,
    ConfigError,
    RuntimeUnavailableError,
    StateShapeError,
)
from spyv4.runtime.onnx_check import ExportCheck, check_export
from spyv4.runtime.onnx_file import open_onnx
from spyv4.runtime.onnx_runtime import OnnxRuntime, pick_providers
from spyv4.runtime.torch_runtime import TorchRuntime
from spyv4.types import Detections
from tests.helpers.tiny_model import firing_rates, pictures, same, tiny_model

SIZE = (64, 96)
CPU = ["CPUExecutionProvider"]


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A file that `spyv4-export` wrote, and what it said; exporting takes ten seconds."""
    folder = tmp_path_factory.mktemp("onnx")
    weights, path = folder / "tiny.safetensors", folder / "out" / "tiny.onnx"
    save_model(tiny_model(readout="leaky"), weights)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = export_command(
            ["--weights", str(weights), "--output", str(path), "--image-size", "64", "96"]
        )
    assert code == 0
    return path, said.getvalue()


@pytest.fixture(scope="session")
def exported(report: tuple[Path, str]) -> Path:
    return report[0]


def images(batch: int) -> Tensor:
    return torch.rand(batch, 3, *SIZE, generator=torch.Generator().manual_seed(batch))


def differing(one: object, other: object) -> float:
    """Share of values that differ by more than rounding, as a flipped spike makes them."""
    a, b = (np.concatenate([t.numpy().ravel() for t in tree_leaves(x)]) for x in (one, other))
    return float((~(np.abs(a - b) < 1e-3)).mean())


@pytest.mark.slow
def test_export_agrees_with_torch_at_rest_and_later(exported: Path) -> None:
    checks = check_export(tiny_model(readout="leaky"), exported, SIZE)
    assert [check.state for check in checks] == ["zero", "non-zero"]
    for check in checks:
        assert check.passed
        assert check.largest < 1e-3
        assert check.differing_share < 1e-3


def test_another_network_does_not_pass_the_check(exported: Path) -> None:
    assert not any(
        check.passed for check in check_export(tiny_model(1, readout="leaky"), exported, SIZE)
    )


def test_network_of_nan_does_not_pass_the_check(exported: Path) -> None:
    broken = tiny_model(readout="leaky")
    with torch.no_grad():
        broken.heads[0].bias.fill_(float("nan"))  # type: ignore[union-attr]
    checks: list[ExportCheck] = check_export(broken, exported, SIZE)
    assert not any(check.passed for check in checks)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_runtime_agrees_with_torch_read_by_read(exported: Path, batch: int) -> None:
    ours = TorchRuntime(tiny_model(readout="leaky"), torch.device("cpu"), precision="float32")
    theirs = OnnxRuntime(exported, CPU)
    assert theirs.config == ours.config
    assert theirs.description == "ONNX Runtime, float32, CPUExecutionProvider"
    states = [runtime.initial_state(batch, SIZE) for runtime in (ours, theirs)]
    assert differing(*states) == 0
    for _ in range(3):
        results = [
            runtime.step(runtime.prepare(images(batch)), state, activity=True)
            for runtime, state in zip((ours, theirs), states, strict=True)
        ]
        for part in ("maps", "state", "activity"):
            one, other = (getattr(result, part) for result in results)
            assert differing(one, other) < 2e-3, part
        states = [result.state for result in results]
    plain = theirs.step(theirs.prepare(images(batch)), states[1])
    assert plain.activity is None


def test_detector_runs_the_file(exported: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    detector = Detector.load(exported)
    assert detector.image_size == SIZE
    assert isinstance(detector.runtime, OnnxRuntime)
    other = Detector(
        TorchRuntime(tiny_model(readout="leaky"), torch.device("cpu"), precision="float32"),
        image_size=SIZE,
    )

    def look(detector: Detector) -> Detections:
        return detector.detect(frame, 2, score_threshold=0.002, activity=True)

    one, two = look(detector), look(other)
    assert len(one) == len(two) > 3
    np.testing.assert_allclose(one.scores, two.scores, atol=2e-3)
    assert one.firing_rates == pytest.approx(two.firing_rates, abs=2e-3)
    several = detector.detect([frame, frame], 2, score_threshold=0.002)
    for item in several:
        np.testing.assert_allclose(item.scores, one.scores, atol=1e-5)


def test_one_file_is_for_every_size(exported: Path) -> None:
    ours = TorchRuntime(tiny_model(readout="leaky"), torch.device("cpu"), precision="float32")
    theirs = OnnxRuntime(exported, CPU)
    for size in ((32, 32), (96, 64), (160, 96)):
        seen = pictures(2, size)
        rates = [firing_rates(runtime, seen) for runtime in (ours, theirs)]
        torch.testing.assert_close(rates[0], rates[1], atol=0.01, rtol=0.0)
    with pytest.raises(ConfigError, match="32"):
        theirs.initial_state(1, (96, 65))


@pytest.mark.parametrize("change", ["batch", "size", "network"])
def test_states_that_do_not_fit_are_refused(exported: Path, change: str) -> None:
    runtime = OnnxRuntime(exported, CPU)
    state = {
        "batch": lambda: runtime.initial_state(1, SIZE),
        "size": lambda: runtime.initial_state(2, (96, 64)),
        "network": lambda: tiny_model().initial_state(2, SIZE),
    }[change]()
    with pytest.raises(StateShapeError, match=r"start from initial_state\(\)"):
        runtime.step(runtime.prepare(images(2)), state)


def test_states_are_values(exported: Path) -> None:
    """Whoever holds a state or current finds it as it was, whatever is read from it or after it."""
    runtime = OnnxRuntime(exported, CPU)
    prepared = runtime.prepare(images(2))
    held = [runtime.initial_state(2, SIZE, seed=1)]
    for _ in range(4):
        held.append(runtime.step(prepared, held[-1]).state)
    copies = copy.deepcopy((prepared, held))
    for state in held:  # the memory of results that nobody holds is used again
        runtime.step(runtime.prepare(images(2) / 2), state, activity=True)
    assert same(copies, (prepared, held))
    again = runtime.step(prepared, held[1]).state
    assert same(again, held[2])
    del runtime
    assert same(copies, (prepared, held))


def test_state_is_read_where_it_is(exported: Path) -> None:
    """Nothing is copied on the way in: what is bound is the tensor's own memory."""
    runtime = OnnxRuntime(exported, CPU)
    state = runtime.step(runtime.prepare(images(1)), runtime.initial_state(1, SIZE)).state
    for tensor in tree_leaves(state):
        assert OrtValue.from_dlpack(tensor.contiguous()).data_ptr() == tensor.data_ptr()


def test_images_are_done_with_before_the_first_read(exported: Path) -> None:
    whole = onnx.load(exported)
    names = [entry.name for entry in whole.graph.input]
    assert names[:2] == ["images", "layers.stem1.u"]
    file = open_onnx(exported, on_cpu=True)
    first, rest = (onnx.load_from_string(part).graph for part in (file.first, file.rest))
    assert [entry.name for entry in first.input] == ["images"]
    assert [entry.name for entry in first.output] == ["current"]
    assert [entry.name for entry in rest.input] == ["current", *names[1:]]
    assert len(first.node) + len(rest.node) == len(whole.graph.node)
    assert [node.op_type for node in first.node] == ["Conv"]


def test_what_is_no_exported_network_is_refused(exported: Path, tmp_path: Path) -> None:
    for data in (b"", b"not onnx at all", exported.read_bytes()[:5000]):
        path = tmp_path / "broken.onnx"
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"broken\.onnx"):
            OnnxRuntime(path, CPU)
    with pytest.raises(CheckpointError, match=r"nothing\.onnx"):
        OnnxRuntime(tmp_path / "nothing.onnx", CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "was not written by spyv4-export"),
        ({"format": "spyv4-onnx-3"}, "is of format spyv4-onnx-3, not spyv4-onnx-4; export .* anew"),
        ({"config": "{"}, "is not a readable ONNX model"),
        ({"config": "[]"}, "is not a readable ONNX model"),
        ({"image_size": "3"}, "is not a readable ONNX model"),
    ],
)
def test_foreign_onnx_files_are_refused(
    exported: Path, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    proto = onnx.load(exported)
    for entry in proto.metadata_props:
        entry.value = change.get(entry.key, entry.value)
    path = tmp_path / "foreign.onnx"
    onnx.save(proto, path)
    with pytest.raises(CheckpointError, match=message):
        OnnxRuntime(path, CPU)


def test_graph_without_a_place_to_cut_is_refused(exported: Path, tmp_path: Path) -> None:
    proto = onnx.load(exported)
    del proto.graph.value_info[:]
    path = tmp_path / "whole.onnx"
    onnx.save(proto, path)
    with pytest.raises(CheckpointError, match="does not lead from 'images' to 'current'"):
        OnnxRuntime(path, CPU)


def test_file_and_runtime_have_to_fit(exported: Path) -> None:
    with pytest.raises(ArgumentError, match="needs the onnx runtime, not torch"):
        Detector.load(exported, runtime="torch")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_said(exported: Path) -> None:
    for device in ("cuda", "cuda:0"):
        with pytest.raises(RuntimeUnavailableError, match="use --device cpu"):
            Detector.load(exported, device=device)
    with pytest.raises(ArgumentError, match="device must be"):
        pick_providers("gpu")
    assert pick_providers("auto") == CPU


def test_command_says_what_it_wrote_and_checked(report: tuple[Path, str]) -> None:
    path, text = report
    assert text.count("(ok)") == 2
    assert f"wrote {path} for any batch and size, 64 x 96 unless told otherwise" in text
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_command_refuses_sizes_off_the_grid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_model(tiny_model(), weights)
    arguments = ["--weights", str(weights), "--output", str(tmp_path / "tiny.onnx")]
    assert export_command([*arguments, "--image-size", "64", "65"]) == 2
    assert "multiples of 32" in capsys.readouterr().err
    assert not (tmp_path / "tiny.onnx").exists()


def test_any_weights_run_by_way_of_onnx(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are exported first, which takes ten seconds; here it is copied what was exported."""
    weights, asked = tmp_path / "tiny.safetensors", []
    save_model(tiny_model(readout="leaky"), weights)

    def copied(model: SPYv4, path: Path, size: tuple[int, int], *, precision: str) -> None:
        asked.append((model.config, size, precision))
        shutil.copy(exported, path)

    monkeypatch.setattr("spyv4.runtime.onnx_runtime.export_onnx", copied)
    detector = Detector.load(weights, runtime="onnx", image_size=SIZE)
    assert asked == [(load_model(weights).config, SIZE, "float32")]
    assert isinstance(detector.runtime, OnnxRuntime)
    assert detector.image_size == SIZE
    frame = np.full((50, 70, 3), 90, np.uint8)
    expected = Detector.load(exported).detect(frame, 2, score_threshold=0.0)
    np.testing.assert_array_equal(
        detector.detect(frame, 2, score_threshold=0.0).scores, expected.scores
    )


def test_random_potentials_are_those_of_torch(exported: Path) -> None:
    ours = TorchRuntime(tiny_model(readout="leaky"), torch.device("cpu"), precision="float32")
    one, other = (r.initial_state(2, SIZE, seed=5) for r in (ours, OnnxRuntime(exported, CPU)))
    assert differing(one, other) == 0
    assert differing(one, ours.initial_state(2, SIZE)) > 0.9
