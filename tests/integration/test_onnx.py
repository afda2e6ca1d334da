"""The one-read step as ONNX: the same answers as torch, for any batch, at any state."""

import contextlib
import io
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from spyv4 import Detector, SPYv4
from spyv4.checkpoint import load_model, save_model
from spyv4.commands.export import export_command
from spyv4.errors import (
    ArgumentError,
    CheckpointError,
    RuntimeUnavailableError,
    StateShapeError,
)
from spyv4.runtime.onnx_export import ExportCheck, check_export
from spyv4.runtime.onnx_runtime import OnnxRuntime, pick_providers
from spyv4.runtime.torch_runtime import TorchRuntime
from spyv4.types import Detections
from tests.helpers.tiny_model import tiny_model

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
    assert theirs.description == "ONNX Runtime, CPUExecutionProvider"
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


def test_other_sizes_are_refused(exported: Path) -> None:
    with pytest.raises(StateShapeError, match=r"is for pictures of \(64, 96\), not \(96, 64\)"):
        OnnxRuntime(exported, CPU).initial_state(1, (96, 64))


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
    assert f"wrote {path} for pictures of 64 x 96, any batch" in text
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

    def copy(model: SPYv4, path: Path, size: tuple[int, int]) -> None:
        asked.append((model.config, size))
        shutil.copy(exported, path)

    monkeypatch.setattr("spyv4.runtime.onnx_runtime.export_onnx", copy)
    detector = Detector.load(weights, runtime="onnx", image_size=SIZE)
    assert asked == [(load_model(weights).config, SIZE)]
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
