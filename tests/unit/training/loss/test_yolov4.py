"""The loss of the authors' release (reference section 4b), worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from spyv4.config import ModelConfig
from spyv4.heads.levels import split_levels
from spyv4.network.readout import Maps
from tests.helpers.encoding import encode_yolov4
from training.config import LossConfig
from training.loss import LossTerms, build_loss
from training.loss.assign import Assignment

MODEL = ModelConfig(class_names=("cat", "dog"), image_size=(128, 160))
OUTPUTS = 3 * MODEL.outputs_per_anchor
NEVER = -30.0
PLAIN = LossConfig(label_smoothing=0.0)
LN2 = math.log(2)


def silent(batch: int = 1) -> Maps:
    return (
        torch.full((batch, OUTPUTS, 4, 5), NEVER),
        torch.full((batch, OUTPUTS, 8, 10), NEVER),
    )


def target(cx: float, cy: float, w: float, h: float, image: int = 0, label: int = 1) -> Tensor:
    return torch.tensor([[image, label, cx, cy, w, h]], dtype=torch.float32)


def assign(targets: Tensor) -> list[Assignment]:
    return build_loss(MODEL, PLAIN).assign(silent(4), targets)


def loss(maps: Maps, targets: Tensor, config: LossConfig = PLAIN) -> LossTerms:
    criterion = build_loss(MODEL, config)
    return criterion(maps, criterion.assign(maps, targets), targets)


def put(maps: Maps, level: int, anchor: int, box: tuple[float, float, float, float]) -> Tensor:
    """Write a box into the cell of its centre; its outputs, to be changed further."""
    raw, anchors, stride = split_levels(maps, MODEL)[level]
    wanted = torch.tensor(box)
    cell = (wanted[:2] / stride).floor()
    outputs: Tensor = raw[0, anchor, int(cell[1]), int(cell[0])]
    outputs[:4] = encode_yolov4(wanted, cell, anchors[anchor], stride)
    return outputs


@pytest.mark.parametrize(
    ("sides", "coarse", "fine"),
    [
        ((37, 58), [], [1]),
        ((20, 30), [], [0]),
        ((135, 120), [1], []),
        ((82, 80), [0], [2]),  # the anchor that both heads have
        ((9, 13), [], []),  # Tiny-YOLOv4's anchor 0, which no head has
    ],
)
def test_the_best_of_all_anchors_takes_the_object(
    sides: tuple[float, float], coarse: list[int], fine: list[int]
) -> None:
    found = assign(target(70, 53, *sides))
    assert [f.anchor.tolist() for f in found] == [coarse, fine]


def test_the_cell_of_the_centre_takes_the_object() -> None:
    _, fine = assign(torch.cat((target(70, 53, 37, 58, 2, 0), target(160, 128, 37, 58, 1, 1))))
    assert fine.cells.tolist() == [[4, 3], [9, 7]]
    assert fine.image.tolist() == [2, 1]
    assert fine.labels.tolist() == [0, 1]


def test_terms_of_one_object() -> None:
    """One fine positive whose box is exact in place and 0.8 times as wide.

    The same centre and height: IoU 0.8, no distance, v = 4/pi^2 (atan(37/58) - atan(29.6/58))^2.
    The picture is 160 x 128, so the weight is 2 - 37 58 / 20480. Objectness logit 0: ln 2; class
    logits 0: 2 ln 2. All other places are silent.
    """
    maps = silent()
    outputs = put(maps, 1, 1, (70, 53, 0.8 * 37, 58))
    outputs[4:] = 0.0
    v = 4 / math.pi**2 * (math.atan(37 / 58) - math.atan(29.6 / 58)) ** 2
    ciou = 0.8 - v * v / (0.2 + v)
    terms = loss(maps, target(70, 53, 37, 58))
    assert terms.box.item() == pytest.approx((1 - ciou) * (2 - 37 * 58 / 20480), rel=1e-4)
    assert terms.objectness.item() == pytest.approx(LN2, rel=1e-5)
    assert terms.classes.item() == pytest.approx(2 * LN2, rel=1e-5)


def test_terms_are_divided_by_the_positives_of_all_heads() -> None:
    maps = silent()
    for level, anchor, side in ((1, 1, (37, 58)), (0, 1, (135, 120))):
        put(maps, level, anchor, (70, 53, *side))[4:] = 0.0
    both = torch.cat((target(70, 53, 37, 58), target(70, 53, 135, 120)))
    terms = loss(maps, both)
    assert terms.objectness.item() == pytest.approx(2 * LN2 / 2, rel=1e-5)
    assert terms.classes.item() == pytest.approx(4 * LN2 / 2, rel=1e-5)


def test_places_that_overlap_an_object_are_no_background() -> None:
    """A place beside the positive, sure of itself: ignored while its box has an IoU above 0.5."""
    goal = target(70, 53, 37, 58)
    for width, ignored in ((0.6 * 37, True), (0.4 * 37, False)):
        maps = silent()
        put(maps, 1, 1, (70, 53, 37, 58))[4:] = 30.0
        put(maps, 1, 0, (70, 53, width, 58))[4] = 10.0
        cost = loss(maps, goal).objectness.item()
        assert cost == pytest.approx(0 if ignored else 10, abs=0.01)
    # The object of another picture excuses nothing.
    maps = silent(2)
    put(maps, 1, 0, (70, 53, 30, 58))[4] = 10.0
    elsewhere = target(70, 53, 37, 58, image=1)
    assert loss(maps, elsewhere).objectness.item() == pytest.approx(10 + 30, abs=0.01)
    # What is unsure on this one does, and costs nothing itself.
    criterion, unsure = build_loss(MODEL, PLAIN), torch.tensor([[0.0, 70, 53, 37, 58]])
    found = criterion(maps, criterion.assign(maps, elsewhere), elsewhere, unsure)
    assert found.objectness.item() == pytest.approx(30, abs=0.01)


def test_a_picture_without_objects_is_background() -> None:
    maps = tuple(torch.zeros_like(m) for m in silent())
    terms = loss(maps, torch.zeros(0, 6))
    assert terms.objectness.item() == pytest.approx(3 * (20 + 80) * LN2, rel=1e-5)
    assert (terms.box.item(), terms.classes.item()) == (0, 0)


def test_labels_are_smoothed() -> None:
    """Goals 1 - 0.2 + 0.1 and 0.1 for two classes; class logits +-2."""
    maps = silent()
    put(maps, 1, 1, (70, 53, 37, 58))[4:] = torch.tensor([30.0, -2.0, 2.0])
    terms = loss(maps, target(70, 53, 37, 58), LossConfig(label_smoothing=0.2))
    softplus = math.log1p(math.exp(2.0))
    expected = (softplus - 2 * 0.9) + (softplus + 2 * 0.1 - 2)
    assert terms.classes.item() == pytest.approx(expected, rel=1e-5)


def test_descending_the_loss_finds_the_objects() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = tuple(torch.randn(m.shape, generator=generator).requires_grad_() for m in silent(2))
    targets = torch.cat((target(70, 53, 37, 58), target(40, 90, 60, 100, 1, 0)))
    optimizer = torch.optim.Adam(maps, lr=0.2)
    first = loss(maps, targets).total.item()
    for _ in range(100):
        optimizer.zero_grad()
        total = loss(maps, targets).total
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert total.item() < 0.05 * first
