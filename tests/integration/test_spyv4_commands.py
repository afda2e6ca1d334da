"""`spyv4-bench` and `spyv4-export`."""

import json
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
    assert names[1] == "eager float32"
    assert all(row["ms_per_read"] > 0 for row in report["timings"])
    assert all(0 < row["share_of_peak"] < 1.5 for row in report["timings"])
    assert report["peaks"]["float32"] > 1
    assert report["chosen"] in names
    assert names[-1] == f"chosen: {report['chosen']}, threads: {report['threads']}"
    assert report["threads"] == report["choice"]["threads"] <= torch.get_num_threads()
    assert "int8" not in report["chosen"]  # whose mAP no card has


def test_bench_compares_with_a_run_that_was_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, saved = tmp_path / "tiny.safetensors", tmp_path / "saved.json"
    save_model(tiny_model(), weights)
    options = ["--weights", str(weights), "--rounds", "1", "--reads", "1", "--device", "cpu"]
    options += ["--no-compiled", "--no-onnx"]
    assert bench_command([*options, "--json", str(saved)]) == 0
    assert "of the earlier time" not in capsys.readouterr().out
    report = json.loads(saved.read_text())
    for row in report["timings"]:
        row["ms_per_read"] *= 1000
    saved.write_text(json.dumps(report))
    assert bench_command([*options, "--compare", str(saved)]) == 0
    assert "0.00 of the earlier time" in capsys.readouterr().out
    saved.write_text("{}")
    assert bench_command([*options, "--compare", str(saved)]) == 2
    assert "--compare wants a file of spyv4-bench --json" in capsys.readouterr().err


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


def test_bench_needs_a_compiler_to_time_compiled_networks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert bench_command(["--rounds", "1", "--reads", "1", "--no-onnx", "--device", "cpu"]) == 2
    assert "use --no-compiled" in capsys.readouterr().err
