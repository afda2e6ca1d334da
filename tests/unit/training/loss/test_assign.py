import pytest
import torch
from torch import Tensor

from spyv4.config import ModelConfig
from spyv4.heads.codec import decode_scaled
from spyv4.heads.levels import Level, split_levels
from tests.helpers.encoding import encode_scaled
from training.loss.assign import assign_scaled

CONFIG = ModelConfig()
OUTPUTS = 3 * CONFIG.outputs_per_anchor


def levels(height: int = 128, width: int = 160) -> tuple[Level, ...]:
    """Heads of one or more pictures; their values do not matter here."""
    maps = (
        torch.zeros(4, OUTPUTS, height // 32, width // 32),
        torch.zeros(4, OUTPUTS, height // 16, width // 16),
    )
    return split_levels(maps, CONFIG)


def target(cx: float, cy: float, w: float, h: float, image: int = 0, label: int = 7) -> Tensor:
    return torch.tensor([[image, label, cx, cy, w, h]])


def cells_of(found: object, anchor: int) -> set[tuple[int, int]]:
    chosen = found.cells[found.anchor == anchor]  # type: ignore[attr-defined]
    return {(column, row) for column, row in chosen.tolist()}


@pytest.mark.parametrize(
    ("centre", "cells"),
    [
        ((70.0, 53.0), {(4, 3), (3, 3), (4, 2)}),  # upper left of cell (4, 3)
        ((76.0, 53.0), {(4, 3), (5, 3), (4, 2)}),  # upper right
        ((70.0, 60.0), {(4, 3), (3, 3), (4, 4)}),  # lower left
        ((76.0, 60.0), {(4, 3), (5, 3), (4, 4)}),  # lower right
        ((1.0, 2.0), {(0, 0)}),  # its neighbours would be outside
        ((159.0, 127.0), {(9, 7)}),
        ((159.0, 60.0), {(9, 3), (9, 4)}),
    ],
)
def test_cell_of_the_centre_and_its_nearest_neighbours(
    centre: tuple[float, float], cells: set[tuple[int, int]]
) -> None:
    _, fine = assign_scaled(target(*centre, 37, 58), levels())
    assert cells_of(fine, 1) == cells
    assert set(fine.labels.tolist()) == {7}
    assert set(fine.image.tolist()) == {0}
    torch.testing.assert_close(
        fine.boxes_cxcywh, torch.tensor([[*centre, 37.0, 58.0]]).expand(len(fine.labels), 4)
    )


def test_anchors_of_similar_shape_take_the_object() -> None:
    """30 x 30: (81, 82) is 2.7 times as large, on both heads; (135, 169) 5.6 times."""
    coarse, fine = assign_scaled(target(70, 53, 30, 30), levels())
    assert set(coarse.anchor.tolist()) == {0}
    assert set(fine.anchor.tolist()) == {0, 1, 2}


def test_object_unlike_all_anchors_goes_to_the_closest() -> None:
    """4 x 4: 7 times smaller than (23, 27) and less like all others."""
    coarse, fine = assign_scaled(target(70, 53, 4, 4), levels())
    assert len(coarse.labels) == 0
    assert set(fine.anchor.tolist()) == {0}
    assert cells_of(fine, 0) == {(4, 3), (3, 3), (4, 2)}
    # 400 x 40: (135, 169) is 4.2 times as high and 3 times less wide, all others are further off.
    coarse, fine = assign_scaled(target(70, 53, 400, 40), levels())
    assert set(coarse.anchor.tolist()) == {1}
    assert len(fine.labels) == 0


def test_positives_can_be_decoded_and_lie_in_the_picture() -> None:
    generator = torch.Generator().manual_seed(0)
    count = 300
    size = torch.tensor([160.0, 128.0])
    width = 8 + torch.rand(count, 1, generator=generator) * 150
    height = width * (0.5 + 1.5 * torch.rand(count, 1, generator=generator))
    targets = torch.cat(
        (
            torch.randint(0, 4, (count, 1), generator=generator).float(),
            torch.randint(0, 20, (count, 1), generator=generator).float(),
            torch.rand(count, 2, generator=generator) * size,
            width,
            height,
        ),
        dim=1,
    )
    both = levels()
    seen = set()
    for level, found in zip(both, assign_scaled(targets, both), strict=True):
        rows, columns = level.raw.shape[2:4]
        assert (found.cells >= 0).all()
        assert (found.cells < torch.tensor([columns, rows])).all()
        anchors = level.anchors[found.anchor]
        raw = encode_scaled(found.boxes_cxcywh, found.cells, anchors, level.stride)
        assert torch.isfinite(raw).all()
        torch.testing.assert_close(
            decode_scaled(raw, found.cells, anchors, level.stride),
            found.boxes_cxcywh,
            rtol=1e-3,
            atol=1e-2,
        )
        seen |= {tuple(box) for box in found.boxes_cxcywh.tolist()}
    assert seen == {tuple(box) for box in targets[:, 2:].tolist()}


def test_every_picture_keeps_its_objects() -> None:
    targets = torch.cat((target(70, 53, 37, 58, 2, 5), target(30, 90, 37, 58, 0, 3)))
    seen = {
        (image, label, box[0])
        for found in assign_scaled(targets, levels())
        for image, label, box in zip(
            found.image.tolist(), found.labels.tolist(), found.boxes_cxcywh.tolist(), strict=True
        )
    }
    assert seen == {(2, 5, 70.0), (0, 3, 30.0)}


def test_no_objects_no_positives() -> None:
    for found in assign_scaled(torch.zeros(0, 6), levels()):
        assert len(found.labels) == 0
        assert found.cells.shape == (0, 2)
        assert found.boxes_cxcywh.shape == (0, 4)
