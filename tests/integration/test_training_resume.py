"""A run that is stopped and resumed is the run that was not."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from spyv4.checkpoint import load_model
from spyv4.errors import CheckpointError, ConfigError
from spyv4.validation import to_mapping
from tests.integration.training_runs import (
    BATCH,
    STEPS,
    assert_same_training,
    draw_pictures,
    recipe,
    train,
    trainer,
)
from training.runs import WEIGHTS, RunFolder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("voc"))


def recipe_model(changes: dict[str, Any]) -> dict[str, Any]:
    """The tiny network of `recipe`, changed."""
    return to_mapping(recipe().model) | changes


RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "varying reads": {"reads": 3, "min_reads": 1, "learner": {"kind": "fptt", "updates": 2}},
    "average": {
        "learner": {"kind": "plain"},
        "optimizer": {
            "name": "adamw",
            "learning_rate": 2e-3,
            "weight_decay": 0.01,
            "schedule": "cosine",
            "warmup_steps": 2,
            "ema_decay": 0.9,
        },
        "model": {"readout": "leaky"},
    },
    "sgd": {"optimizer": {"name": "sgd"}, "learner": {"adopt_running_mean": False}},
    "segments": {"reads": 4, "learner": {"kind": "fptt-k", "updates": 2, "loss_at": "every"}},
    "sizes": {"augmentation": {"multi_scale": 0.5}},
    "released": {
        "model": recipe_model({"codec": "yolov4", "dropout": 0.1}),
        "learner": {"update_alpha": 0.5},
    },
}


CASES = [
    *(("paper", stop_after) for stop_after in (1, STEPS, STEPS + 2)),
    *((name, STEPS + 2) for name in RECIPES if name != "paper"),
]


@pytest.mark.parametrize(("name", "stop_after"), CASES)
def test_resumed_run_equals_the_uninterrupted_one(
    root: Path, tmp_path: Path, name: str, stop_after: int
) -> None:
    """Stopped within the first epoch, at its very end, and within the second."""
    changes = dict(RECIPES[name])
    changes["model"] = recipe_model(changes.pop("model", {}))
    config = recipe(**changes)
    whole = trainer(root, tmp_path / "whole", config)
    reports = train(whole)
    assert len(reports) == 2 * STEPS

    first = trainer(root, tmp_path / "cut", config)
    before = train(first, stop_after)
    assert len(before) == stop_after
    torch.manual_seed(999)
    second = trainer(root, tmp_path / "cut", config)
    torch.manual_seed(12345)
    second.state.load_state_dict(RunFolder(tmp_path / "cut").load())
    after = train(second)
    assert [r.loss for r in before + after] == [r.loss for r in reports]
    assert_same_training(whole, second)
    one, other = (load_model(tmp_path / run / WEIGHTS).state_dict() for run in ("whole", "cut"))
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


def test_a_run_of_several_sizes_has_several(root: Path, tmp_path: Path) -> None:
    """Those that the case above goes through, before and after it is stopped."""
    run = trainer(root, tmp_path, recipe(**RECIPES["sizes"]))
    sizes = [batch.images.shape[2:] for batch in run.loader.batches(0, epochs=2)]
    assert len(set(sizes[: STEPS + 2])) > 1
    assert len(set(sizes)) == 3


def test_number_of_workers_does_not_matter(root: Path, tmp_path: Path) -> None:
    config = recipe(epochs=1)
    alone = trainer(root, tmp_path / "alone", config)
    train(alone)
    helped = trainer(root, tmp_path / "helped", config, workers=1)
    train(helped, stop_after=2, number=signal.SIGINT)
    resumed = trainer(root, tmp_path / "helped", config, workers=1)
    resumed.state.load_state_dict(RunFolder(tmp_path / "helped").load())
    train(resumed)
    assert_same_training(alone, resumed)


def test_seed_decides_the_run(root: Path, tmp_path: Path) -> None:
    losses = []
    for seed in (3, 3, 4):
        run = trainer(root, tmp_path / str(len(losses)), recipe(epochs=1, seed=seed))
        losses.append([report.loss for report in train(run)])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_signal_handlers_are_put_back(root: Path, tmp_path: Path) -> None:
    kept = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train(trainer(root, tmp_path, recipe(epochs=1)), stop_after=1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == kept


@pytest.fixture(scope="module")
def saved(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The checkpoint of a run of the paper's recipe."""
    run_dir = tmp_path_factory.mktemp("saved")
    train(trainer(root, run_dir, recipe()), stop_after=1)
    return RunFolder(run_dir).load()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {"name": "adamw"}}, "optimiser adagrad, not adamw"),
        ({"learner": {"kind": "plain"}}, "of another run"),
        ({"optimizer": {"ema_decay": 0.9}}, "of another run"),
        ({"model": recipe_model({"width_multiple": 0.25})}, "of another run"),
        ({"model": recipe_model({"neuron": {"kind": "adaptive-ltc"}})}, "of another run"),
    ],
)
def test_checkpoint_of_another_recipe_is_refused(
    root: Path, tmp_path: Path, saved: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        trainer(root, tmp_path, recipe(**changes)).state.load_state_dict(saved)


def test_checkpoint_of_other_pictures_is_refused(
    root: Path, tmp_path: Path, saved: dict[str, Any]
) -> None:
    """As many as before, one box moved by a pixel; the same ones at another place are fine."""
    moved = Path(shutil.copytree(root, tmp_path / "moved"))
    trainer(moved, tmp_path, recipe()).state.load_state_dict(saved)
    (first, *_) = sorted(moved.glob("**/Annotations/*.xml"))
    text = first.read_text()
    assert "<xmin>8</xmin>" in text
    first.write_text(text.replace("<xmin>8</xmin>", "<xmin>9</xmin>"))
    with pytest.raises(ConfigError, match="pictures or their boxes are not those"):
        trainer(moved, tmp_path, recipe()).state.load_state_dict(saved)


def test_checkpoint_of_another_batch_size_is_refused(
    root: Path, tmp_path: Path, saved: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=f"{STEPS} batches an epoch, now there are"):
        trainer(root, tmp_path, recipe(batch_size=BATCH + 2)).state.load_state_dict(saved)


def test_learning_rate_may_change_on_resume(
    root: Path, tmp_path: Path, saved: dict[str, Any]
) -> None:
    run = trainer(root, tmp_path, recipe(optimizer={"learning_rate": 1e-4}))
    run.state.load_state_dict(saved)
    assert {report.learning_rate for report in train(run)} == {1e-4}
