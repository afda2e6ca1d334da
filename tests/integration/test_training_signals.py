"""Ctrl-C and SIGTERM to the whole process group, as a terminal or a scheduler sends them."""

import json
import signal
from pathlib import Path

import pytest
import torch

from spyv4.checkpoint import load_model
from tests.helpers.sessions import session
from tests.integration.training_runs import (
    STEPS,
    TINY,
    assert_same_training,
    draw_pictures,
    recipe,
    train,
    trainer,
)
from training.commands.train import train_parser
from training.resolve import resolve_config
from training.runs import LAST, WEIGHTS, RunFolder

PROGRAM = "import sys; from training.commands.train import main; sys.exit(main())"


LONG = (*TINY, "epochs=10000", "seed=3", "reads=2", "batch_size=4", "model.image_size=[64, 64]")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_group_saves_and_ends(tmp_path: Path, number: signal.Signals) -> None:
    root = draw_pictures(tmp_path / "voc")
    run_dir = tmp_path / "run"
    text = f"--voc-root {root} --train VOC2012:train --run {run_dir} --workers 1 --device cpu"
    text += " --no-compile --no-tensorboard --no-eval --save-minutes 0"
    arguments = [*text.split(), *(part for line in LONG for part in ("--set", line))]
    config = resolve_config(train_parser().parse_args(arguments))
    # Sums depend on the number of threads, which other tests may have changed in this process.
    threads = str(torch.get_num_threads())
    folder = tmp_path / "out"
    with session(PROGRAM, arguments, folder, OMP_NUM_THREADS=threads) as process:
        process.wait_for((run_dir / LAST).is_file, "a checkpoint")
        process.signal(number)
        assert process.end() == 0, process.stderr
        assert "Traceback" not in process.stderr
        report = json.loads(process.stdout)
    assert report == {"complete": False, "weights": str(run_dir / WEIGHTS)}
    assert not list(run_dir.glob("*.part"))
    load_model(run_dir / WEIGHTS)

    saved = RunFolder(run_dir).load()
    assert json.loads(saved["config"])["seed"] == config.seed
    epoch, step = saved["position"]
    assert 1 <= epoch * STEPS + step < 10_000
    whole = trainer(root, tmp_path / "whole", config)
    train(whole, stop_after=epoch * STEPS + step + 2)
    resumed = trainer(root, tmp_path / "resumed", config)
    resumed.state.load_state_dict(saved)
    train(resumed, stop_after=2)
    assert_same_training(whole, resumed)


def test_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    """Within one batch; the checkpoint of before stays."""
    root = draw_pictures(tmp_path / "voc")
    run = trainer(root, tmp_path / "run", recipe())
    train(run, stop_after=1)
    before = (tmp_path / "run" / LAST).read_bytes()
    plain = run.loss.assign

    def twice(*arguments: object) -> object:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return plain(*arguments)  # type: ignore[arg-type]

    run.loss.assign = twice  # type: ignore[assignment, method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(run)
    assert (tmp_path / "run" / LAST).read_bytes() == before
