import itertools
import json
from pathlib import Path

import pytest
import torch

from spyv4.errors import SaveError
from training.learning import Observation
from training.report.gather import read_log
from training.report.log import RunLog, StepReport


def report(step: int, loss: float = 3.0, observation: Observation | None = None) -> StepReport:
    return StepReport(
        epoch=1,
        step=step,
        global_step=step,
        terms=torch.tensor([loss / 3] * 3 + [0.0]),
        learning_rate=1e-3,
        firing_rate=torch.tensor(0.1),
        images=4,
        seconds=0.5,
        waited_s=0.5 if step == 0 else 0.0,
        observation=observation,
    )


def entries(run_dir: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]


def test_stored_entries_are_means_over_the_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two batches that ended a second apart, and the half that the first one took."""
    clock = itertools.count()
    monkeypatch.setattr("training.report.log.time.perf_counter", lambda: next(clock))
    with RunLog(tmp_path / "run", 5, every=2, tensorboard=False, progress=False) as log:
        for step in range(5):
            log.step(report(step, loss=float(step)))
    stored = entries(tmp_path / "run")
    assert [entry["global_step"] for entry in stored] == [1, 3]
    assert [entry["loss"] for entry in stored] == pytest.approx([0.5, 2.5])
    assert stored[0]["epoch"] == 1
    assert stored[0]["firing_rate"] == pytest.approx(0.1)
    assert [entry["images_per_s"] for entry in stored] == pytest.approx([8 / 1.5] * 2)
    assert [entry["data_wait"] for entry in stored] == pytest.approx([1 / 3, 0.0])
    assert capsys.readouterr().err == ""


def test_what_the_regulariser_does_is_logged_and_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = Observation(torch.tensor(4.0), torch.tensor(0.5), torch.tensor(0.03))
    with RunLog(tmp_path, 3, every=1, tensorboard=False) as log:
        assert log.due(0)
        log.step(report(0))
        log.step(report(1, observation=seen))
        log.step(report(2))
    first, second, third = entries(tmp_path)
    assert "penalty_ratio" not in first
    assert second["penalty_ratio"] == pytest.approx(0.125)
    assert second["drift"] == pytest.approx(0.03)
    assert third["penalty_ratio"] == pytest.approx(0.125)  # the last that was measured
    assert "penalty/task 1.2e-01" in capsys.readouterr().err


def test_resumed_log_is_added_to(tmp_path: Path) -> None:
    for step in (1, 2):
        with RunLog(tmp_path, 5, step, every=1, tensorboard=False, progress=False) as log:
            log.step(report(step))
    assert [entry["global_step"] for entry in entries(tmp_path)] == [1, 2]


def test_half_a_line_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"global_step": 1}\n{"glob')
    with RunLog(tmp_path, 5, 2, every=1, tensorboard=False, progress=False) as log:
        log.step(report(2))
    assert [entry["global_step"] for entry in read_log(tmp_path / "log.jsonl")] == [1, 2]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    named = pytest.raises(SaveError, match=r"cannot write .*log.jsonl: No space left on device")
    with named, RunLog(tmp_path, 5, every=1, tensorboard=False, progress=False) as log:
        log.step(report(0))


def test_without_a_folder_nothing_is_kept_or_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with RunLog(None, 5, every=1) as log:
        log.say("compiling the step")
        log.step(report(0))
        log.metric("eval/map", 0.25, 0)
    assert capsys.readouterr() == ("", "")


def test_progress_shows_loss_and_speed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLog(tmp_path, 1, tensorboard=False) as log:
        log.step(report(0))
    shown = capsys.readouterr().err
    assert "epoch 2 loss 3.000 (box 1.00 obj 1.00 cls 1.00) lr 1.0e-03 firing 10.0%" in shown


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own
def test_tensorboard_files_are_written(tmp_path: Path) -> None:
    with RunLog(tmp_path, 2, every=1, progress=False) as log:
        log.step(report(0))
        log.metric("eval/map", 0.25, 0)
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert entries(tmp_path)[-1] == {"eval/map": 0.25, "global_step": 0}


def test_a_line_is_said_above_the_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLog(tmp_path, 1, tensorboard=False) as log:
        log.say("compiling the step")
    shown = capsys.readouterr()
    assert "\rcompiling the step\n" in shown.err
    assert shown.out == ""
