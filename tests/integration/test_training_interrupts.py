"""Ctrl-C and SIGTERM in every phase of `spyv4-train`; each phase is held until the signal came."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.helpers.sessions import session
from tests.integration.training_runs import command, draw_pictures
from training.interrupts import STOPPING
from training.runs import LAST, RunFolder

HOLD = """
import os, sys, time
def hold(*arguments, **named):
    os.write(1, b"held")
    while not os.path.exists(os.environ["GO"]):
        time.sleep(0.01)
"""
RUN = "from training.commands.train import main; sys.exit(main())"
IMPORTING = """
class Slow:
    def find_spec(self, name, *_):
        if name == "torch":
            hold()
sys.meta_path.insert(0, Slow())
"""
READING = "import training.data.voc as voc; voc.check_picture = hold\n"
DECODING = "import training.data.cache as cache; cache.decode_rgb = hold\n"
EVALUATING = "import training.evaluate.runner as runner; runner.decode_rgb = hold\n"
SECOND_BATCH = """
from training.loop import Trainer
plain = Trainer.train_batch
def batch(self, *arguments, **named):
    if self.state.step == 1:
        hold()
    return plain(self, *arguments, **named)
Trainer.train_batch = batch
"""
# Not sh, which takes blocked signals again where a compiler does not.
COMPILER = """#!/usr/bin/env bash
case " $* " in *" -o "*) ;; *) exec {real} "$@" ;; esac
while [ "$1" != -o ]; do shift; done
echo half > "$2"
echo "$PWD $2" > {mark}.part
mv {mark}.part {mark}
sleep 600
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


@pytest.mark.parametrize(
    ("hook", "number", "doing"),
    [
        (IMPORTING, signal.SIGINT, ""),
        (IMPORTING, signal.SIGTERM, ""),
        (READING, signal.SIGINT, " while reading annotations"),
        (DECODING, signal.SIGINT, " while decoding pictures"),
        (DECODING, signal.SIGTERM, " while decoding pictures"),
    ],
)
def test_a_phase_before_the_first_batch_ends_at_once(
    root: Path, tmp_path: Path, hook: str, number: signal.Signals, doing: str
) -> None:
    arguments = [*command(root, tmp_path / "run", "--workers", "1")]
    with session(HOLD + hook + RUN, arguments, tmp_path / "out", GO=str(tmp_path / "go")) as run:
        run.wait_for(lambda: "held" in run.stdout, "the phase")
        run.signal(number)
        assert run.end() == 128 + number
        lines = [line for line in run.stderr.splitlines() if line and "batch/s" not in line]
        assert lines == [f"spyv4-train: stopped{doing}"]
    assert not (tmp_path / "run" / LAST).exists()


def test_an_evaluation_ends_at_once_and_names_the_checkpoint(root: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = [a for a in command(root, run_dir, "--workers", "1") if a != "--no-eval"]
    hooks = HOLD + EVALUATING + RUN
    with session(hooks, arguments, tmp_path / "out", GO=str(tmp_path / "go")) as run:
        run.wait_for(lambda: "held" in run.stdout, "the evaluation")
        run.signal(signal.SIGINT)
        assert run.end() == 128 + signal.SIGINT
        assert run.stderr.splitlines()[-1] == (
            f"spyv4-train: stopped while evaluating; the checkpoint is in {run_dir}: "
            f"go on with the same command and --resume --run {run_dir}"
        )
        assert "Traceback" not in run.stderr
    assert RunFolder(run_dir).load()["position"] == [1, 0]


def test_a_batch_is_finished_and_saved(root: Path, tmp_path: Path) -> None:
    """The answer comes while the batch is held, in a call that handles no signals."""
    go, run_dir = tmp_path / "go", tmp_path / "run"
    arguments = command(root, run_dir, "--workers", "1")
    with session(HOLD + SECOND_BATCH + RUN, arguments, tmp_path / "out", GO=str(go)) as run:
        run.wait_for(lambda: "held" in run.stdout, "the batch")
        run.signal(signal.SIGINT)
        run.wait_for(lambda: STOPPING in run.stderr, "the answer")
        run.signal(signal.SIGTERM)  # repeated by a scheduler, which changes nothing
        go.touch()
        assert run.end() == 0
        assert run.stderr.splitlines()[-1] == (
            f"stopped in epoch 1/1, after 2 of its 3 batches; the checkpoint is in {run_dir}: "
            f"go on with the same command and --resume --run {run_dir}"
        )
        assert not json.loads(run.stdout.removeprefix("held"))["complete"]
    assert RunFolder(run_dir).load()["position"] == [0, 2]


def test_second_ctrl_c_ends_at_once(root: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    arguments = command(root, run_dir, "--workers", "1", "--save-minutes", "0")
    program = HOLD + SECOND_BATCH + RUN
    with session(program, arguments, tmp_path / "out", GO=str(tmp_path / "go")) as run:
        run.wait_for(lambda: "held" in run.stdout, "the batch")
        run.signal(signal.SIGINT)
        run.wait_for(lambda: STOPPING in run.stderr, "the answer")
        run.signal(signal.SIGINT)
        assert run.end() == 128 + signal.SIGINT
        assert "--resume" in run.stderr.splitlines()[-1]
        assert "Traceback" not in run.stderr
    assert RunFolder(run_dir).load()["position"] == [0, 1]


@pytest.mark.slow
def test_compiling_ends_at_once_and_leaves_nothing_half_written(root: Path, tmp_path: Path) -> None:
    """Neither the compiler, nor its own children, nor what it was writing."""
    mark, tools = tmp_path / "mark", tmp_path / "tools"
    tools.mkdir()
    (tools / "g++").write_text(COMPILER.format(real=shutil.which("g++"), mark=mark))
    (tools / "g++").chmod(0o755)
    arguments = list(command(root, tmp_path / "run", "--workers", "1"))
    arguments.remove("--no-compile")
    env = {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CXX": str(tools / "g++"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    program = "import sys, warnings; warnings.simplefilter('default')\n" + RUN
    with session(program, arguments, tmp_path / "out", **env) as run:
        # Before its last command runs, the shell would outlive a signal that hits the one before.
        run.wait_for(lambda: mark.exists() and "sleep 600 " in run.members(), "the compiler")
        folder, written = mark.read_text().split()
        assert (Path(folder) / written).read_text() == "half\n"
        assert "compiling the step, a minute or two" in run.stderr
        run.signal(signal.SIGINT)
        assert run.end() == 128 + signal.SIGINT
        assert run.stderr.splitlines()[-1] == "spyv4-train: stopped while compiling the step"
        assert "Traceback" not in run.stderr
    assert not (Path(folder) / written).exists()
