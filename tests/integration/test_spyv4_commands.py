"""`spyv4-bench` and `spyv4-export`."""

import json
import re
from pathlib import Path

import pytest
import torch

from spyv4.checkpoint import save_model
from spyv4.commands.bench import bench_command
from spyv4.commands.export import export_command
from tests.helpers.tiny_model import tiny_model


def test_describe_gives_the_paper_s_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--image-size", "416", "416"]
    assert bench_command(["--describe", "--model", "spyv4", *size, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["spiking_layers"] == 19
    assert report["neurons"] == 6_186_752
    assert 13.9e6 <= report["parameters"] <= 14.0e6
    assert report["gflop_per_read"] == pytest.approx(17.2, abs=0.05)


def test_bench_times_every_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_model(tiny_model(), weights)
    options = ["--rounds", "1", "--reads", "1", "--no-compiled", "--no-onnx", "--device", "cpu"]
    assert bench_command(["--weights", str(weights), *options, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    names = [row["name"] for row in report["timings"]]
    assert names[0] == "plain eager float32"
    assert any("channels-last" in name for name in names[1:])
    assert all(row["ms_per_read"] > 0 for row in report["timings"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--describe", "--image-size", "100", "416"], "multiples of 32"),
        (["--reads", "10000"], "reads must be a whole number from 1 to 256"),
        (["--model", "spyv4", "--weights", "x"], "--model or --weights"),
        (["--weights", "nowhere.safetensors"], "neither a file nor one of the shipped"),
    ],
)
def test_bench_answers_mistakes_in_one_line(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_command(options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_bench_wants_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench_command(["--rounds", "0"])
    assert "--rounds: must be a whole number of at least 1" in capsys.readouterr().err


def test_export_refuses_another_suffix(capsys: pytest.CaptureFixture[str]) -> None:
    assert export_command(["--output", "model.txt"]) == 2
    assert "must end in .onnx" in capsys.readouterr().err


def test_bench_says_in_text_what_a_network_costs(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--describe", "--model", "spyv4-nano", "--image-size", "64", "96"]
    assert bench_command(options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["           model: spyv4-nano", "      image_size: [64, 96]"]
    assert "  spiking_layers: 19" in lines


def test_bench_times_compiled_networks_where_there_is_a_compiler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "tiny.safetensors"
    save_model(tiny_model(), weights)
    options = ["--weights", str(weights), "--rounds", "1", "--reads", "1", "--no-onnx"]
    with monkeypatch.context() as patch:
        patch.setattr("shutil.which", lambda _: None)
        assert bench_command(options) == 2
        assert "use --no-compiled" in capsys.readouterr().err
        patch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
        patch.setattr(torch, "compile", lambda function: function)
        assert bench_command(options) == 0
    shown = capsys.readouterr().out
    assert re.search("torch compiled, b?float(32|16), channels-last, cpu: ", shown)
    assert " ms a read, x 1.00\n" in shown  # the reference, beside itself
