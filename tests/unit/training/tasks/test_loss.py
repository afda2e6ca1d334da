"""The loss of a step (paper, equation 2)."""

import math

import pytest
import torch

from training.tasks.loss import sequence_loss

OUTPUTS = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]], dtype=torch.float64)
LABELS = torch.tensor([0, 2])


def by_hand(share: float, prior: list[float] | None) -> float:
    """b CE + (1 - b) (-sum Q log P), one sample after the other."""
    total = 0.0
    for row, label in zip(OUTPUTS.tolist(), LABELS.tolist(), strict=True):
        norm = math.log(sum(math.exp(value) for value in row))
        log = [value - norm for value in row]
        q = prior or [float(j == label) for j in range(3)]
        total += -share * log[label] - (1 - share) * sum(a * b for a, b in zip(q, log, strict=True))
    return total / 2


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_loss_is_the_papers(share: float) -> None:
    found = sequence_loss(OUTPUTS, LABELS, share, "prior").item()
    assert found == pytest.approx(by_hand(share, [1 / 3] * 3))
    assert sequence_loss(OUTPUTS, LABELS, share, "label").item() == pytest.approx(
        by_hand(share, None)
    )


def test_early_steps_hardly_learn_the_label() -> None:
    """At b near 0 knowing nothing is best, at b = 1 the label is."""
    sure, unsure = torch.tensor([[9.0, 0.0, 0.0]]), torch.zeros(1, 3)
    label = torch.tensor([0])
    for share, better, worse in ((0.01, unsure, sure), (1.0, sure, unsure)):
        assert sequence_loss(better, label, share, "prior") < sequence_loss(
            worse, label, share, "prior"
        )
