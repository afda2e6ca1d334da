"""`spyv4-tasks run` of tasks of classification."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers.task_data import write_mnist
from training.commands.tasks import tasks_command

RUN = "run r-mnist --network 784-8R-10I --frames 4 --epochs 2 --batch-size 4 --no-compile"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_mnist(tmp_path / "mnist", test=40)


def test_a_run_is_written_down(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, log = tmp_path / "run.json", tmp_path / "log"
    more = f" --data {folder} --json {path} --log {log} --neuron alif --learner tbptt --updates 2"
    assert tasks_command((RUN + more + " --learning-rate 0.02 --limit 20 --seed 3").split()) == 0
    document = json.loads(path.read_text())
    config = document["config"]
    assert (config["neuron"], config["seed"], config["frames"]) == ("alif", 3, 4)
    assert (config["learner"]["kind"], config["learner"]["updates"]) == ("tbptt", 2)
    assert config["optimizer"]["learning_rate"] == 0.02
    assert (document["training_samples"], document["test_samples"]) == (20, 8)
    assert (document["batches"], document["batches_planned"]) == (10, 10)
    assert len(document["epochs"]) == 2
    assert document["test_accuracy"] == document["epochs"][1]["test_accuracy"]
    assert document["split"].startswith("not standard")
    assert document["seconds"] > 0
    assert document["peak_memory_mib"] > 50
    assert document["compiled"] is False
    out, err = capsys.readouterr()
    assert "r-mnist: not standard" in err
    assert f"test accuracy {document['test_accuracy']:.2%}" in out
    stored = EventAccumulator(str(log))
    stored.Reload()
    assert set(stored.Tags()["scalars"]) >= {"test/accuracy", "test/loss", "train/loss"}
    accuracies = [scalar.value for scalar in stored.Scalars("test/accuracy")]
    assert accuracies == pytest.approx([e["test_accuracy"] for e in document["epochs"]])


def test_a_run_goes_on_from_its_checkpoint(folder: Path, tmp_path: Path) -> None:
    cut, whole = tmp_path / "cut.json", tmp_path / "whole.json"
    text = f"{RUN} --data {folder} --json"
    assert tasks_command([*f"{text} {whole}".split()]) == 0
    more = f"{text} {cut} --checkpoint {tmp_path / 'run.pt'}"
    assert tasks_command([*more.split(), "--minutes", "0.0001"]) == 0
    assert json.loads(cut.read_text())["batches"] < 16
    assert tasks_command(more.split()) == 0
    first, second = (json.loads(path.read_text()) for path in (whole, cut))
    assert first["batches"] == second["batches"] == 16
    assert first["test_loss"] == second["test_loss"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("run s-mnist", "needs --data FOLDER"),
        ("run s-mnist --data nowhere", "has no t10k-images"),
        ("run s-mnist --data nowhere --length 5", "the task s-mnist has no --length"),
        ("run s-mnist --data nowhere --frames 5", "frames must be 0"),
        ("run dvs-gesture --data nowhere", "has no ibmGestureTrain"),
        ("run mnist --data {folder} --network 12Q-10I", "- expected at character 3"),
        ("run mnist --data {folder} --network 12R-7I", "end it with 10I"),
        ("run r-mnist --data {folder} --neuron lstm", "lstm needs a recurrent layer"),
        ("run r-mnist --data {folder} --learner eprop", "the rates of ltc neurons are mixed"),
        ("run mnist --data {folder} --learner eprop --neuron lif", "would need a trace for each"),
        ("run mnist --data {folder} --learner bptt --alpha 0", "alpha must be greater than 0"),
    ],
)
def test_what_is_wrong_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], options: str, words: str
) -> None:
    assert tasks_command(options.format(folder=folder).split()) == 2
    assert words in capsys.readouterr().err


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nfrom training.commands.tasks import tasks_command\n"
        "try: tasks_command(['run', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
