"""The training loop on a drawn VOC tree, from the command and directly."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spyv4 import Detector
from spyv4.checkpoint import load_model
from spyv4.errors import CheckpointError
from tests.integration.training_runs import (
    PICTURES,
    STEPS,
    draw_pictures,
    recipe,
    train,
    trainer,
)
from training.checkpoints import LAST, WEIGHTS, load_run
from training.cli import train_command, train_parser
from training.engine import Trainer
from training.errors import NonFiniteLossError
from training.resolve import resolve_config

TINY = (
    "model.width_multiple=0.125",
    'model.class_names=["cat", "dog", "bus", "car"]',
    'precision="float32"',
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


def command(root: Path, run_dir: Path, *more: str, settings: tuple[str, ...] = TINY) -> list[str]:
    """A run of one epoch of the tiny network."""
    arguments = f"--voc-root {root} --train VOC2012:train --eval VOC2012:train --run {run_dir}"
    arguments += " --image-size 64 64 --epochs 1 --batch-size 4 --reads 1 --workers 0"
    arguments += " --device cpu --no-compile --no-tensorboard --no-eval"
    sets = [part for text in settings for part in ("--set", text)]
    return [*arguments.split(), *sets, *more]


def events(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_loss_falls_on_a_handful_of_pictures(root: Path, tmp_path: Path) -> None:
    """Overfitting four pictures; what the loss learns, the detector then finds."""
    config = recipe(
        epochs=40,
        batch_size=PICTURES,
        fptt={"alpha": 0.0, "gradient_clip": 5.0},
        optimizer={"name": "adamw", "learning_rate": 1e-2},
    )
    run = trainer(root, tmp_path, config, augment=False)
    reports = train(run)
    first, last = reports[0], reports[-1]
    assert last.loss < 0.5 * first.loss
    assert last.box < 0.7 * first.box
    assert last.classes < 0.7 * first.classes
    assert 0.01 < last.firing_rate < 0.6


def test_fptt_with_the_papers_settings_learns(root: Path, tmp_path: Path) -> None:
    config = recipe(epochs=20, batch_size=PICTURES, optimizer={"learning_rate": 1e-2})
    run = trainer(root, tmp_path, config, augment=False)
    reports = train(run)
    assert reports[-1].loss < 0.8 * reports[0].loss
    drift = [
        (weight - mean).abs().max().item()
        for weight, mean in zip(run.learner.parameters, run.learner.running_mean, strict=True)
    ]
    assert max(drift) == 0  # adopted at the end of the epoch
    assert any(m.abs().max() > 0 for m in run.learner.multiplier)


def test_command_trains_and_writes_a_usable_detector(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    arguments = [a for a in command(root, run_dir) if a != "--no-eval"]
    assert train_command(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"complete": True, "weights": str(run_dir / WEIGHTS)}
    log = events(run_dir)
    assert log[0]["config"]["model"]["width_multiple"] == 0.125
    assert log[0]["pictures"] == PICTURES
    assert [entry for entry in log if "eval/map" in entry]
    state = load_run(run_dir)
    assert state["position"] == [1, 0]
    assert json.loads(state["config"]) == log[0]["config"]
    detector = Detector.load(run_dir / WEIGHTS, precision="float32")
    assert detector.config.class_names == ("cat", "dog", "bus", "car")
    assert detector.image_size == (64, 64)
    found = detector.detect(np.zeros((50, 70, 3), np.uint8), reads=1, score_threshold=0.0)
    assert len(found) > 0


def test_saved_weights_are_the_running_mean(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe())
    train(run, stop_after=1)
    saved = dict(load_model(tmp_path / WEIGHTS).named_parameters())
    names = [name for name, _ in run.model.named_parameters()]
    assert any(
        not torch.equal(w, m)
        for w, m in zip(run.learner.parameters, run.learner.running_mean, strict=True)
    )
    for name, mean in zip(names, run.learner.running_mean, strict=True):
        assert torch.equal(saved[name], mean)


def test_saved_weights_are_the_average_where_there_is_one(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe(optimizer={"ema_decay": 0.5}))
    train(run, stop_after=2)
    saved = load_model(tmp_path / WEIGHTS)
    for parameter, value in zip(saved.parameters(), run.average.values, strict=False):
        assert torch.equal(parameter, value)


def test_finished_and_half_done_runs_are_not_overwritten(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    assert train_command(command(root, run_dir)) == 0
    before = (run_dir / LAST).read_bytes()
    assert train_command(command(root, run_dir)) == 2
    assert "add --resume or choose another --run" in capsys.readouterr().err
    assert (run_dir / LAST).read_bytes() == before
    assert train_command(command(root, run_dir, "--resume", "--epochs", "2")) == 0
    assert load_run(run_dir)["position"] == [2, 0]


def test_resumed_run_keeps_its_settings_but_for_those_said_anew(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    settings = (*TINY, "fptt.alpha=0.05", "optimizer.weight_decay=0.1")
    assert train_command(command(root, tmp_path, settings=settings)) == 0
    bare = f"--voc-root {root} --train VOC2012:train --run {tmp_path} --workers 0 --device cpu"
    bare += " --no-compile --no-tensorboard --no-eval --resume"
    more = ["--epochs", "2", "--set", "optimizer.weight_decay=0.2"]
    assert train_command([*bare.split(), *more]) == 0
    state = load_run(tmp_path)
    config = json.loads(state["config"])
    assert (config["epochs"], config["batch_size"], config["fptt"]["alpha"]) == (2, 4, 0.05)
    assert config["model"]["width_multiple"] == 0.125
    assert state["optimizer"]["param_groups"][0]["weight_decay"] == 0.2
    assert "optimizer.weight_decay is 0.2 instead of 0.1" in caplog.text
    assert "fptt.alpha" not in caplog.text
    wider = ["--set", "model.width_multiple=0.25"]
    assert train_command([*bare.split(), *wider]) == 2
    assert "keeps its network" in capsys.readouterr().err


def test_command_line_goes_before_the_file_and_anchors_follow_the_size(
    root: Path, tmp_path: Path
) -> None:
    text = "[model]\nimage_size = [832, 832]\n"
    (tmp_path / "run.toml").write_text(text)
    more = ("--config", str(tmp_path / "run.toml"))
    assert train_command(command(root, tmp_path / "run", *more)) == 0
    model = load_model(tmp_path / "run" / WEIGHTS).config
    assert (model.image_size, model.reads) == ((64, 64), 1)
    assert model.anchors[5] == (round(344 * 64 / 416, 1), round(319 * 64 / 416, 1))
    from_file = resolve_config(train_parser().parse_args(["--voc-root", str(root), *more]))
    assert from_file.model.anchors[5] == (688, 638)


def test_file_of_another_encoding_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.toml").write_bytes(b"# caf\xe9\n")
    more = ("--config", str(tmp_path / "run.toml"))
    assert train_command(command(root, tmp_path / "run", *more)) == 2
    assert "run.toml is not UTF-8 text" in capsys.readouterr().err


def test_nothing_to_resume_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_command(command(root, tmp_path / "none", "--resume")) == 2
    error = capsys.readouterr().err
    assert "nothing to resume" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("data", [b"", b"no checkpoint at all", b"PK\x03\x04 cut", b"\x80\x02K"])
def test_damaged_checkpoint_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    (tmp_path / LAST).write_bytes(data)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_run(tmp_path)
    assert train_command(command(root, tmp_path, "--resume")) == 2
    assert LAST in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "settings", "message"),
    [
        ((), (*TINY, "fptt.alhpa=1"), "did you mean 'fptt.alpha'"),
        ((), (*TINY, "fptt.alpha=-1"), "fptt.alpha must be at least 0"),
        ((), (*TINY, 'precision="half"'), "precision must be one of"),
        ((), (*TINY, "fptt"), "is not valid TOML"),
        ((), (*TINY, "model=1"), "model must be a table"),
        ((), (*TINY, "optimizer=1"), "optimizer must be a table"),
        (("--epochs", "0"), TINY, "epochs must be at least 1"),
        (("--batch-size", "99"), TINY, "do not fill one batch of 99"),
        (("--image-size", "65", "64"), TINY, "multiples of 32"),
        (("--train", "VOC2012:nothing"), TINY, "nothing"),
        ((), (*TINY, "freeze_batch_norm=true"), "--init-weights"),
        (("--config", "/nowhere.toml"), TINY, "nowhere.toml"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    settings: tuple[str, ...],
    message: str,
) -> None:
    assert train_command(command(root, tmp_path / "run", *more, settings=settings)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_compiling_without_a_compiler_is_refused(
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    arguments = [a for a in command(root, tmp_path / "run") if a != "--no-compile"]
    assert train_command(arguments) == 2
    assert "add --no-compile" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_command(command(root, tmp_path / "run", "--device", "cuda")) == 2
    assert "no CUDA GPU" in capsys.readouterr().err


def test_initial_weights_are_where_the_run_starts(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_command(command(root, tmp_path / "first")) == 0
    weights = tmp_path / "first" / WEIGHTS
    tiny = ("model.class_names=" + '["cat", "dog", "bus", "car"]', 'precision="float32"')
    more = ("--init-weights", str(weights), "--learning-rate", "1e-9")
    assert train_command(command(root, tmp_path / "next", *more, settings=tiny)) == 0
    start, end = load_model(weights), load_model(tmp_path / "next" / WEIGHTS)
    for one, other in zip(start.parameters(), end.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert (
        train_command(
            command(root, tmp_path / "bad", *more, "--model", "spyv4-nano", settings=tiny)
        )
        == 2
    )
    assert "not spyv4-nano" in capsys.readouterr().err
    wrong = (*tiny, "model.width_multiple=0.25")
    assert train_command(command(root, tmp_path / "bad", *more, settings=wrong)) == 2
    assert "does not fit the configured network" in capsys.readouterr().err


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
    assert not torch.equal(before["neck.head_p5.bias"], after["neck.head_p5.bias"])


def poison(run: Trainer) -> None:
    """Make the class loss of the coarse head not a number."""
    with torch.no_grad():
        run.model.neck.head_p5.bias.view(3, -1)[:, 5:] = float("nan")  # type: ignore[union-attr]
        run.model.neck.head_p4.bias.view(3, -1)[:, 5:] = float("nan")  # type: ignore[union-attr]


def test_loss_that_is_not_finite_stops_the_run(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe())
    train(run, stop_after=2)
    before = {name: (tmp_path / name).read_bytes() for name in (LAST, WEIGHTS)}
    poison(run)
    with pytest.raises(NonFiniteLossError, match="the classes loss is not finite") as at:
        train(run)
    assert "epoch 1, batch 3, read 1" in str(at.value)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_parameters_that_are_not_finite_are_not_saved(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe())
    train(run, stop_after=1)
    before = (tmp_path / LAST).read_bytes()
    poison(run)
    with pytest.raises(NonFiniteLossError, match=r"neck\.head_p5\.bias"):
        run.save()
    assert (tmp_path / LAST).read_bytes() == before


def test_command_ends_with_one_after_a_loss_that_is_not_finite(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--optimizer", "sgd", "--learning-rate", "1e30", "--epochs", "3")
    settings = (*TINY, "fptt.gradient_clip=0")
    assert train_command(command(root, tmp_path / "run", *more, settings=settings)) == 1
    error = capsys.readouterr().err
    assert "is not finite" in error or "are not finite" in error
    assert "lower learning rate" in error


def test_checkpoints_are_saved_by_the_clock(root: Path, tmp_path: Path) -> None:
    run = trainer(root, tmp_path, recipe(epochs=1))
    run.save_every_s = 0.0
    saved: list[int] = []
    plain = run.save
    run.save = lambda: (saved.append(run.position.step), plain())[1]  # type: ignore[method-assign]
    train(run)
    assert saved == [*range(1, STEPS + 1), 0]
