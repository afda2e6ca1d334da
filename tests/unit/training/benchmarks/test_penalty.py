"""How the strength of FPTT's regulariser is measured."""

import json
from pathlib import Path

import pytest

from tests.integration.training_runs import draw_pictures
from training.benchmarks import penalty
from training.benchmarks.penalty import ADAM_RATE, GRADIENTS, main, steps_under_adam


def test_adam_moves_alike_whatever_the_gradient_unless_a_penalty_holds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Adam divides by the gradient's size; beside a drag of alpha times the last move, it cannot.

    A move of 0.003 pulls back with about 0.5 x 0.003, which gradients below 0.001 do not overcome.
    """
    monkeypatch.setattr(penalty, "ADAM_STEPS", 300)
    assert steps_under_adam(None) == pytest.approx([ADAM_RATE] * len(GRADIENTS), rel=0.01)
    held = steps_under_adam(0.5)
    assert held[0] < 0.1 * ADAM_RATE
    assert held[-1] > 0.8 * ADAM_RATE


def test_ratios_are_measured_by_optimiser_and_alpha(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(penalty, "RATES", {"sgd": 1e-2})
    monkeypatch.setattr(penalty, "ALPHAS", (0.1, 1.0))
    monkeypatch.setattr(penalty, "ADAM_STEPS", 2)
    monkeypatch.setattr(penalty, "SIDE", 64)
    root = draw_pictures(tmp_path / "voc")
    written, drawn = tmp_path / "penalty.json", tmp_path / "penalty.png"
    arguments = f"--voc-root {root} --train VOC2012:train --batches 1 --json {written}"
    assert main([*arguments.split(), "--figure", str(drawn)]) == 0
    document = json.loads(written.read_text())
    (weak,), (strong,) = (document["ratio"]["sgd"][alpha] for alpha in ("0.1", "1.0"))
    assert strong == pytest.approx(10 * weak, rel=0.5)  # as alpha, but for what it changes
    assert set(document["adam_step"]) == {"no penalty", "alpha 0.05", "alpha 0.5"}
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert f"sgd      alpha 1.0   batch 1 {strong:.2g}" in capsys.readouterr().out


def test_curves_are_smoothed_over_what_came_before() -> None:
    assert penalty._smooth([1.0, 2.0, 3.0, 8.0], window=2) == [1.0, 1.5, 2.5, 5.5]
