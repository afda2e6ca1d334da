import math

import pytest
import torch
from torch import Tensor

from spyv4.config import ModelConfig
from spyv4.heads.levels import split_levels
from spyv4.network.readout import Maps
from tests.helpers.encoding import encode_scaled
from training.config import LossConfig
from training.loss import LossTerms, build_loss
from training.loss.assign import assign_scaled

MODEL = ModelConfig(class_names=("cat", "dog", "bus"), image_size=(96, 128), codec="scaled")
OUTPUTS = 3 * MODEL.outputs_per_anchor
TARGETS = torch.tensor(
    [
        [0.0, 1.0, 40.0, 50.0, 30.0, 44.0],
        [1.0, 0.0, 70.0, 30.0, 80.0, 50.0],
        [1.0, 2.0, 20.0, 70.0, 25.0, 25.0],
    ]
)
BALANCE = (0.5, 1.0)
PLAIN = LossConfig(
    objectness_weight=7.0,
    class_weight=3.0,
    balance=BALANCE,
    label_smoothing=0.0,
    objectness_iou_share=0.0,
)


def empty(value: float = 0.0, batch: int = 2) -> Maps:
    return (
        torch.full((batch, OUTPUTS, 3, 4), value),
        torch.full((batch, OUTPUTS, 6, 8), value),
    )


def perfect(sure: float = 12.0) -> Maps:
    """Maps from which exactly the targets are decoded."""
    maps = empty(-sure)
    levels = split_levels(maps, MODEL)
    for level, found in zip(levels, assign_scaled(TARGETS, levels), strict=True):
        at = (found.image, found.anchor, found.cells[:, 1], found.cells[:, 0])
        boxes = encode_scaled(
            found.boxes_cxcywh, found.cells, level.anchors[found.anchor], level.stride
        )
        level.raw[(*at, slice(0, 4))] = boxes
        level.raw[(*at, 4)] = sure
        level.raw[(*at, 5 + found.labels)] = sure
    return maps


def random_maps(seed: int = 0) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(m.shape, generator=generator) for m in empty())


def loss(maps: Maps, targets: Tensor = TARGETS, config: LossConfig = PLAIN) -> LossTerms:
    criterion = build_loss(MODEL, config)
    return criterion(maps, criterion.assign(maps, targets), targets)


def test_perfect_maps_lose_next_to_nothing() -> None:
    for term in loss(perfect()):
        assert 0 <= term.item() < 1e-3
    exact, wrong = loss(perfect()), loss(random_maps())
    for term, other in zip(exact[:3], wrong[:3], strict=True):
        assert other > term + 0.1
    assert exact.teacher == wrong.teacher == 0  # there is none


def test_every_mistake_costs_its_own_term() -> None:
    exact = loss(perfect())
    for index, term in ((0, "box"), (2, "box"), (4, "objectness"), (5, "classes")):
        maps = perfect()
        for level in split_levels(maps, MODEL):
            level.raw[..., index] = -level.raw[..., index] + 0.5
        worse = loss(maps)
        assert getattr(worse, term) > getattr(exact, term) + 0.01
        for other in {"box", "objectness", "classes"} - {term}:
            assert getattr(worse, other).item() == pytest.approx(
                getattr(exact, other).item(), abs=1e-4
            )


def test_silent_maps_cost_ln_two_a_cell() -> None:
    terms = loss(empty(0.0), torch.zeros(0, 6), LossConfig(objectness_weight=2.0, balance=BALANCE))
    assert terms.objectness.item() == pytest.approx(2 * (0.5 + 1.0) * math.log(2))
    assert (terms.box.item(), terms.classes.item()) == (0.0, 0.0)
    assert terms.total.item() == terms.objectness.item()


@pytest.mark.parametrize(("width", "excused"), [(40.0, True), (25.0, True), (15.0, False)])
def test_a_box_on_what_is_unsure_is_no_mistake(width: float, excused: bool) -> None:
    """While its IoU with it is above 0.5: a box of 40 x 40, found where nothing is annotated."""
    none, maps = torch.zeros(0, 6), empty(-12.0)
    fine = split_levels(maps, MODEL)[1]
    box, cell = torch.tensor([[40.0, 40.0, 40.0, 40.0]]), torch.tensor([[2, 2]])
    fine.raw[0, 1, 2, 2, :4] = encode_scaled(box, cell, fine.anchors[[1]], fine.stride)[0]
    fine.raw[0, 1, 2, 2, 4] = 12.0
    criterion = build_loss(MODEL, PLAIN)

    def cost(unsure: Tensor) -> float:
        found = criterion(maps, criterion.assign(maps, none), none, unsure)
        return found.objectness.item()

    mistake = cost(torch.zeros(0, 5))
    assert mistake > 0.2
    unsure = torch.tensor([[0.0, 40.0, 40.0, width, 40.0]])
    assert cost(unsure) == pytest.approx(0 if excused else mistake, abs=1e-3)
    other = torch.tensor([[1.0, 40.0, 40.0, width, 40.0]])  # on another picture
    assert cost(other) == pytest.approx(mistake)


def test_an_object_is_learned_on_what_is_unsure_too() -> None:
    criterion, maps = build_loss(MODEL, PLAIN), perfect()
    for level in split_levels(maps, MODEL):
        level.raw[..., 4] = -12.0
    unsure = torch.cat((TARGETS[:, :1], TARGETS[:, 2:]), 1)
    assignments = criterion.assign(maps, TARGETS)
    plain = criterion(maps, assignments, TARGETS)
    torch.testing.assert_close(criterion(maps, assignments, TARGETS, unsure), plain)
    assert plain.objectness > 1


def test_labels_are_smoothed() -> None:
    """All class logits 0: BCE is ln 2 whatever the goal; at +-a it tells the goal."""
    smooth = LossConfig(label_smoothing=0.3, class_weight=1.0)
    assert loss(empty(0.0), TARGETS, smooth).classes.item() == pytest.approx(math.log(2))
    maps = perfect(2.0)
    right, wrong, softplus = 1 - 0.3 + 0.1, 0.1, math.log1p(math.exp(2.0))
    cost = [softplus - 2.0 * right, softplus + 2.0 * wrong - 2.0, softplus + 2.0 * wrong - 2.0]
    assert loss(maps, TARGETS, smooth).classes.item() == pytest.approx(sum(cost) / 3, rel=1e-5)


def test_objectness_goal_follows_the_overlap() -> None:
    """At the best objectness for goal g, BCE is the entropy of g."""
    maps = perfect()
    follow = LossConfig(objectness_iou_share=1.0, objectness_weight=1.0)
    stay = LossConfig(objectness_iou_share=0.0, objectness_weight=1.0)
    for level in split_levels(maps, MODEL):
        level.raw[..., 2:4] -= 1.0
    assert loss(maps, TARGETS, stay).objectness < 1e-3
    assert loss(maps, TARGETS, follow).objectness > 0.01


def test_order_of_the_objects_does_not_matter() -> None:
    """Even where two share a cell and an anchor."""
    crowded = torch.cat((TARGETS, TARGETS[:1] + torch.tensor([0, 1, 1, 1, 2, -3])))
    expected = loss(random_maps(), crowded, LossConfig())
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        for one, other in zip(
            loss(random_maps(), crowded[order], LossConfig()), expected, strict=True
        ):
            torch.testing.assert_close(one, other)


def test_weights_scale_their_terms() -> None:
    one = loss(random_maps(), TARGETS, LossConfig(1.0, 1.0, 1.0))
    two = loss(random_maps(), TARGETS, LossConfig(2.0, 3.0, 4.0))
    ratios = [b.item() / a.item() for a, b in zip(one[:3], two[:3], strict=True)]
    assert ratios == pytest.approx([2, 3, 4])


@pytest.mark.parametrize("targets", [TARGETS, torch.zeros(0, 6)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_gradients_are_finite_and_reach_all_maps(targets: Tensor, scale: float) -> None:
    maps = tuple((scale * m).requires_grad_() for m in random_maps())
    loss(maps, targets, LossConfig()).total.backward()  # type: ignore[no-untyped-call]
    for m in maps:
        assert m.grad is not None
        assert torch.isfinite(m.grad).all()
        assert m.grad.any()


def test_layout_and_precision_of_the_maps_do_not_matter() -> None:
    expected = loss(random_maps(), TARGETS, LossConfig())
    last = tuple(m.contiguous(memory_format=torch.channels_last) for m in random_maps())
    for one, other in zip(loss(last, TARGETS, LossConfig()), expected, strict=True):
        torch.testing.assert_close(one, other)
    half = tuple(m.bfloat16() for m in random_maps())
    for one, other in zip(loss(half, TARGETS, LossConfig()), expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)


def test_descending_the_loss_finds_the_objects() -> None:
    maps = tuple(m.requires_grad_() for m in random_maps())
    optimizer = torch.optim.Adam(list(maps), lr=0.2)
    for _ in range(80):
        optimizer.zero_grad()
        terms = loss(maps)
        terms.total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert terms.total < 0.1 * loss(random_maps()).total
