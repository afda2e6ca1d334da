"""Figures 2c and 2e and the tables of the paper: runs, their costs, and what is written of them."""

import json

import cv2
import pytest

from tests.helpers.task_data import write_mnist
from training.commands.tasks import tasks_command
from training.tasks.cost import Load
from training.tasks.figures import costs, figure_2c
from training.tasks.figures.costs import draw_2e, draw_table_1
from training.tasks.figures.figure_2c import Training, draw_2c


@pytest.mark.slow
def test_memory_of_bptt_grows_with_the_sequence_and_that_of_fptt_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "R_MNIST", Load("128D-10I", inputs=256, batch=64))
    files = draw_2e(tmp_path, lengths=(10, 60))
    data = json.loads(files.data.read_text())
    (short, long), (flat_short, flat_long) = data["memory_mib"]["bptt"], data["memory_mib"]["fptt"]
    assert long > 3 * short
    assert flat_long < 1.3 * flat_short + 4
    assert all(seconds[1] > seconds[0] > 0 for seconds in data["seconds"].values())
    assert cv2.imread(str(files.picture)) is not None


@pytest.mark.slow
def test_e_prop_has_its_cost_too(tmp_path, monkeypatch):
    monkeypatch.setattr(costs, "ADD", Load("2-8R-1", inputs=2, batch=2))
    monkeypatch.setattr(costs, "RULES", ("eprop",))
    data = json.loads(draw_table_1(tmp_path, lengths=(4,)).data.read_text())
    assert data["seconds"]["eprop"][0] > 0


def test_accuracy_against_length_is_of_runs_that_learned(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    monkeypatch.setattr(figure_2c, "PAIRS", (("ltc", "fptt"), ("alif", "bptt")))
    monkeypatch.setattr(figure_2c, "NETWORK", "8R-10I")
    files = draw_2c(tmp_path, Training(tmp_path, 1, 16, 0), lengths=(3, 5))
    data = json.loads(files.data.read_text())
    assert data["lengths"] == [3, 5]
    assert all(0 <= share <= 1 for shares in data["accuracy"].values() for share in shares)
    assert data["split"]
    assert cv2.imread(str(files.picture)) is not None


def test_table_2_sets_runs_beside_the_paper(tmp_path, capsys):
    write_mnist(tmp_path)
    results = tmp_path / "results"
    results.mkdir()
    run = ["run", "r-mnist", "--data", str(tmp_path), "--network", "8D-10I", "--limit", "8"]
    assert tasks_command([*run, "--epochs", "1", "--json", str(results / "r.json")]) == 0
    figure = ["figure", "table-2", "--output", str(tmp_path / "out")]
    assert tasks_command([*figure, "--results", str(results)]) == 0
    table = (tmp_path / "out" / "table-2.md").read_text()
    accuracy = json.loads((results / "r.json").read_text())["test_accuracy"]
    (row,) = (line for line in table.splitlines() if line.startswith("| r-mnist"))
    assert f"| 98.63 | {accuracy:.2%} | ltc, fptt-k | `8D-10I` |" in row
    assert "`spyv4-tasks run r-mnist --data FOLDER --network 8D-10I --epochs 1 --limit 8`" in row
    assert "| s-mnist | - | 97.37 | not run |" in table
    capsys.readouterr()
    assert tasks_command([*figure, "--results", str(tmp_path / "out" / "nothing")]) == 2
    assert "holds no result" in capsys.readouterr().err
    assert tasks_command(["figure", "2c"]) == 2
    assert "--data FOLDER" in capsys.readouterr().err
