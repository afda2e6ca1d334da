"""The training loop on a drawn VOC tree, from the command and directly."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spyv4 import Detector
from spyv4.checkpoint import load_model
from tests.integration.training_runs import (
    PICTURES,
    STEPS,
    TINY,
    command,
    draw_pictures,
    recipe,
    train,
    trainer,
)
from training.commands.train import train_command
from training.errors import NonFiniteLossError
from training.evaluate.operating_point import OperatingPoint
from training.learning import DynamicRegulariser
from training.loop import Trainer
from training.runs import BEST, LAST, WEIGHTS, RunFolder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


def events(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]


def drag(run: Trainer) -> DynamicRegulariser:
    assert run.state.learner.regulariser is not None
    return run.state.learner.regulariser


def test_fptt_with_the_papers_settings_learns(root: Path, tmp_path: Path) -> None:
    config = recipe(epochs=20, batch_size=PICTURES, optimizer={"learning_rate": 1e-2})
    run = trainer(root, tmp_path, config, augment=False)
    reports = train(run)
    assert reports[-1].loss < 0.8 * reports[0].loss
    drift = [
        (weight - mean).abs().max().item()
        for weight, mean in zip(run.state.learner.parameters, drag(run).running_mean, strict=True)
    ]
    assert max(drift) == 0  # adopted at the end of the epoch
    assert any(m.abs().max() > 0 for m in drag(run).multiplier)


def test_command_trains_and_writes_a_usable_detector(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = OperatingPoint(0.123, 0.5, 0.25)
    monkeypatch.setattr("training.evaluate.scores.best_f1", lambda *_: point)
    run_dir = tmp_path / "run"
    arguments = [a for a in command(root, run_dir) if a != "--no-eval"]
    assert train_command(arguments) == 0
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    log = events(run_dir)
    mean_ap = next(entry["eval/map"] for entry in log if "eval/map" in entry)
    rate = next(entry["eval/firing_rate"] for entry in log if "eval/firing_rate" in entry)
    assert log[-1]["eval/score_threshold"] == 0.123
    assert "from a score of 0.123: precision 50.0 %, recall 25.0 %" in shown.err
    assert report == {
        "complete": True,
        "weights": str(run_dir / WEIGHTS),
        "map": mean_ap,
        "best": str(run_dir / BEST),
        "best_map": mean_ap,
    }
    assert Detector.load(run_dir / BEST).config.score_threshold == 0.123
    assert (
        f"epoch 1/1: mAP@0.5 {100 * mean_ap:.2f} % (mean over 4 classes with boxes, 1 read), "
        f"firing rate {100 * rate:.1f} %\n"
    ) in shown.err
    assert f"the best so far: kept as {run_dir / BEST}" in shown.err
    assert "compil" not in shown.err
    assert log[0]["config"]["model"]["width_multiple"] == 0.125
    assert log[0]["pictures"] == PICTURES
    state = RunFolder(run_dir).load()
    assert state["position"] == [1, 0]
    assert json.loads(state["config"]) == log[0]["config"]
    detector = Detector.load(run_dir / WEIGHTS, precision="float32")
    assert detector.config.score_threshold == 0.123
    assert detector.config.class_names == ("cat", "dog", "bus", "car")
    assert detector.image_size == (64, 64)
    found = detector.detect(np.zeros((50, 70, 3), np.uint8), reads=1, score_threshold=0.0)
    assert len(found) > 0


def test_evaluations_between_epochs_are_shown(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [a for a in command(root, tmp_path, "--epochs", "3") if a != "--no-eval"]
    assert train_command([*arguments, "--eval-every", "2"]) == 0
    shown = capsys.readouterr().err
    assert "epoch 2/3: mAP@0.5 " in shown
    assert "epoch 3/3: mAP@0.5 " in shown
    assert "epoch 1/3: " not in shown


def test_compiling_is_said(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    arguments = [a for a in command(root, tmp_path) if a != "--no-compile"]
    assert train_command(arguments) == 0
    shown = capsys.readouterr().err
    assert shown.count("compiling the step, a minute or two\n") == 1
    assert re.search(r"compiled in \d+ s\n", shown)


def test_saved_weights_are_the_running_mean(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe())
    train(run, stop_after=1)
    saved = dict(load_model(tmp_path / WEIGHTS).named_parameters())
    names = [name for name, _ in run.state.model.named_parameters()]
    assert any(
        not torch.equal(w, m)
        for w, m in zip(run.state.learner.parameters, drag(run).running_mean, strict=True)
    )
    for name, mean in zip(names, drag(run).running_mean, strict=True):
        assert torch.equal(saved[name], mean)


def test_saved_weights_are_the_average_where_there_is_one(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe(optimizer={"ema_decay": 0.5}))
    train(run, stop_after=2)
    saved = load_model(tmp_path / WEIGHTS)
    averaged = run.state.average.values[: len(list(saved.parameters()))]
    for parameter, value in zip(saved.parameters(), averaged, strict=True):
        assert torch.equal(parameter, value)
    trained = run.state.learner.parameters
    assert any(not torch.equal(w, a) for w, a in zip(trained, averaged, strict=True))


def test_frozen_batch_norm_keeps_its_statistics(root: Path, tmp_path: Path) -> None:
    assert train_command(command(root, tmp_path / "first")) == 0
    more = ("--init-weights", str(tmp_path / "first" / WEIGHTS))
    settings = (TINY[1], TINY[2], "freeze_batch_norm=true")
    assert train_command(command(root, tmp_path / "next", *more, settings=settings)) == 0
    before = load_model(tmp_path / "first" / WEIGHTS).state_dict()
    after = load_model(tmp_path / "next" / WEIGHTS).state_dict()
    for name, value in before.items():
        if "running" in name:
            torch.testing.assert_close(after[name], value, atol=0.0, rtol=0.0)
    assert not torch.equal(before["heads.0.bias"], after["heads.0.bias"])


def poison(run: Trainer) -> None:
    """Make the class loss of the coarse head not a number."""
    with torch.no_grad():
        for head in run.state.model.outputs:
            head.bias.view(3, -1)[:, 5:] = float("nan")


def test_loss_that_is_not_finite_stops_the_run(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe())
    train(run, stop_after=2)
    before = {name: (tmp_path / name).read_bytes() for name in (LAST, WEIGHTS)}
    poison(run)
    with pytest.raises(NonFiniteLossError, match="the classes loss is not finite") as at:
        train(run)
    assert "epoch 1, batch 3" in str(at.value)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_parameters_that_are_not_finite_are_not_saved(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe())
    train(run, stop_after=1)
    before = (tmp_path / LAST).read_bytes()
    poison(run)
    with pytest.raises(NonFiniteLossError, match=r"heads\.0\.bias"):
        run.folder.save(run.state)
    assert (tmp_path / LAST).read_bytes() == before


def test_command_ends_with_one_after_a_loss_that_is_not_finite(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--optimizer", "sgd", "--learning-rate", "1e30", "--epochs", "3")
    settings = (*TINY, "learner.gradient_clip=0")
    assert train_command(command(root, tmp_path / "run", *more, settings=settings)) == 1
    error = capsys.readouterr().err
    assert "is not finite" in error or "are not finite" in error
    assert "lower learning rate" in error


def test_checkpoints_are_saved_by_the_clock(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe(epochs=1))
    run.save_every_s = 0.0
    saved: list[int] = []
    plain = run.folder.save
    run.folder.save = lambda state: (saved.append(state.position.step), plain(state))[1]  # type: ignore[method-assign]
    train(run)
    assert saved == [*range(1, STEPS), 0]


def test_a_frozen_backbone_stays_as_it_is(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe(freeze="backbone", epochs=1))
    before = {name: value.clone() for name, value in run.state.model.state_dict().items()}
    train(run)
    moved = {
        name.split(".")[1]
        for name, value in run.state.model.state_dict().items()
        if not torch.equal(value, before[name]) and name.startswith("layers.")
    }
    assert moved == {"deep", "p5", "p5_out", "lateral", "p4_out"}


def test_a_run_without_gain_ends_early(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is learned at a rate of 1e-12, so that no mAP is higher than the first."""
    more = ("--epochs", "9", "--eval-every", "1", "--patience", "2", "--learning-rate", "1e-12")
    arguments = [a for a in command(root, tmp_path, *more) if a != "--no-eval"]
    assert train_command(arguments) == 0
    shown = capsys.readouterr()
    assert "no higher mAP in 2 evaluations: this run is over" in shown.err
    assert json.loads(shown.out)["complete"]
    assert "epoch 4/9" not in shown.err
    state = RunFolder(tmp_path).load()
    assert state["position"] == [9, 0]
    assert train_command([*arguments, "--resume"]) == 0


def test_a_share_of_the_pictures_and_no_late_mosaics(root: Path, tmp_path: Path) -> None:
    more = ("--fraction", "0.7", "--epochs", "2", "--close-mosaic", "1", "--schedule", "step")
    assert train_command(command(root, tmp_path, *more)) == 0
    (entry, *_) = events(tmp_path)
    assert entry["pictures"] == 9
    assert entry["config"]["augmentation"]["mosaic_epochs"] == 1
    assert entry["config"]["optimizer"]["schedule"] == "step"
    assert RunFolder(tmp_path).load()["steps_per_epoch"] == 2
