"""The distance from a teacher: nothing where one agrees with it, and a way down to it."""

import pytest
import torch
from torch import Tensor

from spyv4.heads.levels import split_levels
from spyv4.network.readout import Maps
from tests.helpers.tiny_model import tiny_config
from training.config import DistillationConfig
from training.distillation.loss import DistillationLoss, correlation
from training.distillation.teacher import TeacherView

MODEL = tiny_config(class_names=("cat", "dog", "nut"))
CHANNELS = {"p5_out": 5, "p4_out": 4}
OUTPUTS = 3 * MODEL.outputs_per_anchor


def loss(score: float = 1.0, feature: float = 0.0) -> DistillationLoss:
    torch.manual_seed(0)
    config = DistillationConfig(score_weight=score, feature_weight=feature)
    return DistillationLoss(MODEL, config, CHANNELS, 6, [0, 1])


def view(fine: float = 0.0, finest: float = 0.0) -> TeacherView:
    """Sure of a dog in one cell at stride 16 (1, 2), or at stride 8 (3, 4), or of nothing."""
    scores = [torch.zeros(1, 3, side, side) for side in (8, 4, 2)]
    scores[1][0, 1, 1, 2] = fine
    scores[0][0, 1, 3, 4] = finest
    features = [torch.randn(1, 6, side, side) for side in (8, 4, 2)]
    return TeacherView(tuple(scores), tuple(features))


def maps(logit: float = -8.0) -> Maps:
    """Sure of nothing, but with this logit for objectness and dog in cell (1, 2) at stride 16."""
    raw = (torch.full((1, OUTPUTS, 2, 2), -8.0), torch.full((1, OUTPUTS, 4, 4), -8.0))
    fine = split_levels(raw, MODEL)[1].raw
    fine[0, 1, 1, 2, 4] = fine[0, 1, 1, 2, 6] = logit
    return raw


MESSAGES = (torch.rand(1, 5, 2, 2).round(), torch.rand(1, 4, 4, 4).round())


def value(scores: Maps, seen: TeacherView, **weights: float) -> float:
    return loss(**weights)(scores, MESSAGES, seen).item()


@pytest.mark.parametrize("seen", [view(fine=0.9), view(finest=0.9)])
def test_agreement_costs_nothing_and_the_rest_the_more_the_surer(seen: TeacherView) -> None:
    """The finest head hears of what only the teacher's finer level sees, too."""
    agreed = value(maps(3.0), seen)
    unsure = value(maps(0.0), seen)
    silent = value(maps(-8.0), seen)
    assert agreed < 0.01
    assert agreed < unsure < silent
    assert value(maps(-8.0), view()) == pytest.approx(0, abs=1e-5)
    assert value(maps(3.0), view()) > 0.5  # sees what the teacher does not


def test_it_is_the_quality_focal_loss() -> None:
    """s = 1/4, t = 0.9 in one cell: |t - s|^2 BCE(s, t), over a sum of t that counts as 1."""
    expected = (0.9 - 0.25) ** 2 * -(
        0.9 * torch.log(torch.tensor(0.25)) + 0.1 * torch.log(torch.tensor(0.75))
    )
    assert value(maps(0.0), view(fine=0.9)) == pytest.approx(float(expected), rel=2e-3)


def test_classes_that_the_teacher_does_not_know_are_left_alone() -> None:
    raw, without = maps(), maps()
    for each in (raw, without):
        split_levels(each, MODEL)[1].raw[..., 4] = 5.0
    split_levels(raw, MODEL)[1].raw[..., 7] = 5.0  # nuts everywhere
    assert value(raw, view(fine=0.9)) == pytest.approx(value(without, view(fine=0.9)))


def test_correlation_is_that_of_channels() -> None:
    x = torch.randn(3, 2, 4, 5)
    assert float(correlation(x, 3 * x - 1)) == pytest.approx(1, abs=1e-5)
    assert float(correlation(x, -x)) == pytest.approx(-1, abs=1e-5)
    other = torch.randn(3, 2, 4, 5)
    pairs = [torch.stack((x[:, c].flatten(), other[:, c].flatten())) for c in range(2)]
    expected = sum(float(torch.corrcoef(pair)[0, 1]) for pair in pairs) / 2
    assert float(correlation(x, other)) == pytest.approx(expected, abs=1e-5)


def test_features_can_be_imitated() -> None:
    """Gradient descent on the convolution between spikes and features."""
    seen, own = view(), loss(score=0.0, feature=1.0)
    spikes = tuple(torch.rand(1, c, *m.shape[2:]) for c, m in zip((5, 4), maps(), strict=True))

    def now() -> Tensor:
        result: Tensor = own(maps(), spikes, seen)
        return result

    before = now().item()
    optimizer = torch.optim.Adam(own.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        now().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert now().item() < 0.7 * before
