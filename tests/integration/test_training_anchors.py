"""`spyv4-train --anchors auto`."""

from pathlib import Path

import pytest

from spyv4.checkpoint import load_model
from spyv4.config import ModelConfig
from tests.integration.training_runs import command, draw_pictures
from training.commands.train import train_command, train_parser
from training.config import TrainingConfig
from training.resolve import resolve_config
from training.runs import WEIGHTS


def anchors(model: ModelConfig) -> list[tuple[float, float]]:
    return [anchor for head in model.heads for anchor in head.anchors]


def test_found_anchors_stay_with_the_run_and_its_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run_dir = draw_pictures(tmp_path / "voc"), tmp_path / "run"
    auto = command(root, run_dir, "--anchors", "auto")
    assert train_command(auto) == 0
    found = load_model(run_dir / WEIGHTS).config
    given: TrainingConfig = resolve_config(train_parser().parse_args(auto))
    assert len(anchors(found)) == 6
    assert not set(anchors(found)) & set(anchors(given.model))
    assert found.unused_anchors == ()
    for same_command in (auto, command(root, run_dir)):
        epochs = "2" if same_command is auto else "3"
        assert (
            train_command([*same_command, "--resume", "--epochs", epochs, "--allow-config-change"])
            == 0
        )
        assert load_model(run_dir / WEIGHTS).config == found
    few = [*command(root, tmp_path / "few", "--anchors", "auto"), "--fraction", "0.3"]
    assert train_command(few) == 2
    assert "needs boxes of at least 6 different shapes" in capsys.readouterr().err
