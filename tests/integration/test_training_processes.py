"""Training on several processes."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import Tensor

from spyv4 import SPYv4
from tests.helpers.several import environment, free_port, joined
from tests.helpers.tiny_teacher import write_teacher
from tests.helpers.voc_tree import CLASS_NAMES
from tests.integration.training_runs import command, draw_pictures, recipe
from training import processes
from training.batch_norm import synchronise_batch_norm
from training.data import LoaderOptions, TrainingLoader, read_split
from training.loop import Trainer
from training.run_state import RunState
from training.runs import RunFolder

STEPS = {"fptt, Adagrad": 20}
STEPS_ELSE = 6
SCRIPT = Path(sys.executable).parent / "spyv4-train"
TORCHRUN = Path(sys.executable).parent / "torchrun"
CASES: dict[str, dict[str, Any]] = {
    "plain, SGD": {
        "learner": {"kind": "plain"},
        "optimizer": {"name": "sgd", "learning_rate": 0.05},
    },
    "fptt, Adagrad": {"learner": {"kind": "fptt"}, "optimizer": {"name": "adagrad"}},
    "bptt, AdamW": {"learner": {"kind": "bptt"}, "optimizer": {"name": "adamw"}},
    "YOLOv4's loss": {"model": {"codec": "yolov4"}, "optimizer": {"name": "adagrad"}},
}
TAUGHT = "with a teacher"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


def train_some(root: Path, folder: Path, case: str) -> Tensor:
    """All parameters after some steps in float64, where rounding moves no spike."""
    taught = case == TAUGHT
    config = recipe(epochs=100, **CASES.get(case, CASES["plain, SGD"]))
    torch.manual_seed(config.seed)
    loader = TrainingLoader(
        read_split(root, "VOC2012:train", CLASS_NAMES),
        config,
        LoaderOptions(part=(processes.rank(), processes.count())),
        teacher=root / "teacher.onnx" if taught else None,
    )
    model = SPYv4(config.model)
    synchronise_batch_norm(model)
    state = RunState(model.double(), loader, config)
    trainer = Trainer(state, loader, RunFolder(folder), compile_step=False)
    trainer.read.dtype = torch.float64
    for batch in islice(loader.batches(0, epochs=100), STEPS.get(case, STEPS_ELSE)):
        trainer.train_batch(batch)
        state.advance()
    return torch.cat([p.detach().flatten() for p in state.learner.parameters])


def train_together(rank: int, root: Path, folder: Path, port: str) -> None:
    """All cases as process `rank` of two."""
    torch.set_num_threads(1)
    with joined(rank, 2, port):
        result = {case: train_some(root, folder, case) for case in (*CASES, TAUGHT)}
    torch.save(result, folder / f"{rank}.pt")


@pytest.mark.slow
def test_two_processes_do_what_one_does(root: Path, tmp_path: Path) -> None:
    write_teacher(root / "teacher.onnx")
    torch.multiprocessing.spawn(train_together, (root, tmp_path, free_port()), nprocs=2)
    lead, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for case, mine in lead.items():
        alone = train_some(root, tmp_path, case)
        assert torch.equal(mine, other[case]), case
        # The teacher's features go through float32.
        limit = 1e-6 if case == TAUGHT else 1e-12
        assert (mine - alone).norm() < limit * alone.norm(), case


def start(root: Path, folder: Path, rank: int, port: str, *more: str) -> "subprocess.Popen[str]":
    """The command as process `rank` of two."""
    return subprocess.Popen(
        [SCRIPT, *command(root, folder, *more)],
        env=os.environ | environment(rank, 2, port),
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path) -> None:
    """Until a file is there."""
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_where_one_process_dies_the_other_ends_and_says_why(root: Path, tmp_path: Path) -> None:
    port = free_port()
    long = ("--epochs", "100000", "--save-minutes", "0")
    lead, other = (start(root, tmp_path, rank, port, *long) for rank in range(2))
    wait_for(tmp_path / "last.pt")
    other.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    _, said = lead.communicate(timeout=60)
    assert time.monotonic() - killed_at < 30
    other.communicate()
    assert lead.returncode == 1
    assert "error: another process of this run has died" in said.splitlines()[-1]
    assert "on any number of processes" in said.splitlines()[-1]
    assert "Traceback" not in said
    RunFolder(tmp_path).load()


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_in_one(root: Path, tmp_path: Path) -> None:
    several = [TORCHRUN, "--standalone", "--nproc-per-node", "2", "--no-python", "--", SCRIPT]
    arguments = command(root, tmp_path)
    done = subprocess.run([*several, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1  # the lead's
    folder = RunFolder(tmp_path)
    first = folder.load()
    assert first["position"] == [1, 0]
    more = ("--resume", "--epochs", "2", "--allow-config-change")
    subprocess.run([SCRIPT, *arguments, *more], capture_output=True, check=True)
    assert folder.load()["position"] == [2, 0]
    starts = [line for line in folder.log.read_text().splitlines() if "started" in json.loads(line)]
    assert len(starts) == 2


def test_a_batch_is_cut_in_equal_parts(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    odd = [start(root, tmp_path, rank, port, "--batch-size", "3") for rank in range(2)]
    said = [run.communicate(timeout=120)[1] for run in odd]
    assert [run.returncode for run in odd] == [2, 2]
    assert "batch_size must be a multiple of 2, the number of processes, not 3" in said[0]
