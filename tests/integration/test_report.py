"""The page that `spyv4-train` and `spyv4-eval --report` write."""

import json
import re
from pathlib import Path

import pytest

from spyv4.checkpoint import save_model
from tests.helpers.tiny_model import tiny_model
from tests.helpers.voc_tree import CLASS_NAMES
from tests.integration.training_runs import command, draw_pictures
from training.commands.eval import eval_command
from training.commands.train import train_command
from training.run_evaluation import reads_up_to


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


@pytest.fixture
def weights(tmp_path: Path) -> str:
    save_model(tiny_model(class_names=CLASS_NAMES), tmp_path / "tiny.safetensors")
    return str(tmp_path / "tiny.safetensors")


def sections(page: Path) -> list[str]:
    return re.findall(r'<section id="(\w+)">', page.read_text(encoding="utf-8"))


def test_a_run_has_a_report_after_every_evaluation(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = "training.run_report.write_report"
    monkeypatch.setattr(write, lambda path, report: written.append(report.facts["epochs"]))
    arguments = [part for part in command(root, tmp_path / "run") if part != "--no-eval"]
    more = ["--epochs", "3", "--eval-every", "2"]
    assert train_command([*arguments, *more]) == 0
    assert written == ["2 of 3", "3 of 3"]


def test_the_report_of_a_run_shows_it_whole(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [part for part in command(root, run) if part != "--no-eval"]
    assert train_command([*arguments, "--reads", "3", "--epochs", "2"]) == 0
    page = run / "report.html"
    assert {"reads", "curves", "batch", "labels", "configuration"} <= set(sections(page))
    text = page.read_text(encoding="utf-8")
    assert "2 of 2" in text
    assert "model.width_multiple</dt><dd>0.125" in text
    for reads in ("1", "2", "3"):
        assert f"<th>{reads}</th>" in text
    assert "training: 13 pictures; evaluation: 13 pictures" in text


def test_a_run_without_evaluation_has_a_report_at_its_end(root: Path, tmp_path: Path) -> None:
    assert train_command(command(root, tmp_path / "run")) == 0
    assert sections(tmp_path / "run" / "report.html") == ["batch", "labels", "configuration"]


def test_the_report_of_an_evaluation_with_its_twin(
    root: Path, tmp_path: Path, weights: str
) -> None:
    twin, page = tmp_path / "twin.json", tmp_path / "pages" / "r.html"
    where = ["--voc-root", str(root), "--eval", "VOC2012:train", "--weights", weights]
    where += ["--no-coco", "--limit", "5"]
    assert eval_command([*where, "--reads", "1", "--json", str(twin)]) == 0
    document = json.loads(twin.read_text())
    document["by_reads"]["1"]["map"] = 0.4321
    twin.write_text(json.dumps(document))
    more = ["--reads", "1,2", "--report", str(page), "--twin-report", str(twin)]
    written = tmp_path / "e.json"
    assert eval_command([*where, *more, "--json", str(written)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<td>43.2</td>" in text
    one, two = (json.loads(written.read_text())["by_reads"][reads] for reads in "12")
    assert one["spikes"] < two["spikes"]
    assert one["synaptic_operations"] < two["synaptic_operations"]
    assert one["twin_energy_mj"] == two["twin_energy_mj"] > 0
    assert one["energy_mj"] < two["energy_mj"]
    assert f"{two['energy_mj']:.3g}" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--twin-report", "twin.json"], "add --report FILE.html"),
        (["--report", "."], "--report must be a file"),
        (["--report", "r.html", "--twin-report", "none.json"], "none.json"),
    ],
)
def test_what_cannot_be_written_is_known_at_once(
    root: Path,
    weights: str,
    more: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.evaluate.evaluation.run_detector", None)
    where = ["--voc-root", str(root), "--eval", "VOC2012:train", "--weights", weights]
    assert eval_command([*where, *more]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reads", "measured"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])],
)
def test_a_run_is_measured_at_fewer_reads_too(reads: int, measured: list[int]) -> None:
    assert reads_up_to(reads) == measured
