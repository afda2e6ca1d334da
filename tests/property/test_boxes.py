"""Boxes, anchors and suppression: what holds for all of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spyv4.config import ModelConfig, model_preset
from spyv4.heads.boxes import complete_iou, cxcywh_to_xyxy, iou, xyxy_to_cxcywh
from spyv4.heads.codec import decode_scaled, decode_yolov4
from spyv4.heads.decode import RawDetections, decode
from spyv4.network.readout import Maps
from spyv4.options import ReadOptions
from spyv4.preprocess import boxes_to_picture
from tests.helpers.encoding import encode_scaled, encode_yolov4

place = st.floats(-200, 600, width=32)
side = st.floats(0.5, 400, width=32)


@st.composite
def boxes_xyxy(draw: st.DrawFn, count: int = 1) -> Tensor:
    rows = []
    for _ in range(count):
        left, top = draw(place), draw(place)
        rows.append([left, top, left + draw(side), top + draw(side)])
    return torch.tensor(rows, dtype=torch.float64)


@given(boxes_xyxy(), boxes_xyxy())
def test_iou_is_symmetric_and_a_share(a: Tensor, b: Tensor) -> None:
    overlap = iou(a, b)
    assert torch.equal(overlap, iou(b, a))
    assert 0 <= overlap.item() <= 1
    assert complete_iou(a, b).item() <= overlap.item()
    assert complete_iou(a, b).item() >= -2


@given(boxes_xyxy())
def test_iou_with_itself_is_one(a: Tensor) -> None:
    assert iou(a, a).item() == pytest.approx(1)
    assert complete_iou(a, a).item() == pytest.approx(1, abs=1e-6)


@given(boxes_xyxy(3), boxes_xyxy(2))
def test_iou_broadcasts_to_all_pairs(a: Tensor, b: Tensor) -> None:
    table = iou(a[:, None], b)
    for row in range(3):
        for column in range(2):
            assert table[row, column] == iou(a[row], b[column])


@given(boxes_xyxy(4))
def test_formats_round_trip(boxes: Tensor) -> None:
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


@given(boxes_xyxy(), st.integers(-64, 64), st.integers(-64, 64))
def test_iou_does_not_depend_on_the_place(a: Tensor, dx: int, dy: int) -> None:
    b = a + 3.0
    shift = torch.tensor([dx, dy, dx, dy])
    torch.testing.assert_close(iou(a, b), iou(a + shift, b + shift))


def test_iou_of_boxes_worked_out_by_hand() -> None:
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    b = torch.tensor([[1.0, 1.0, 3.0, 3.0], [2.0, 2.0, 3.0, 3.0], [0.0, 0.0, 2.0, 1.0]])
    torch.testing.assert_close(iou(a, b), torch.tensor([1 / 7, 0.0, 0.5]))


def test_boxes_without_area_do_not_overlap() -> None:
    point = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    assert iou(point, point).item() == 0
    assert math.isfinite(complete_iou(point, point).item())


def test_complete_iou_worked_out_by_hand() -> None:
    """IoU 1/7; centres sqrt(2) apart, hull 3 x 3: 2/18; same shape, so v = 0."""
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    b = torch.tensor([[1.0, 1.0, 3.0, 3.0]])
    assert complete_iou(a, b).item() == pytest.approx(1 / 7 - 1 / 9)
    # Same centre, 4 x 2 against 2 x 2: IoU 1/2, v = 4/pi^2 (atan 1 - atan 2)^2.
    a, b = torch.tensor([[-2.0, -1.0, 2.0, 1.0]]), torch.tensor([[-1.0, -1.0, 1.0, 1.0]])
    v = 4 / math.pi**2 * (math.atan(1) - math.atan(2)) ** 2
    assert complete_iou(a, b).item() == pytest.approx(0.5 - v * v / (0.5 + v), abs=1e-6)


@given(
    st.tuples(*[st.floats(-0.49, 1.49)] * 2),
    st.tuples(*[st.floats(0.01, 3.9)] * 2),
    st.tuples(st.integers(0, 25), st.integers(0, 25)),
    st.tuples(st.floats(5, 400), st.floats(5, 400)),
    st.sampled_from([16, 32]),
)
def test_decoding_undoes_encoding(
    offset: tuple[float, float],
    share: tuple[float, float],
    cell: tuple[int, int],
    anchor: tuple[float, float],
    stride: int,
) -> None:
    cells, anchors = torch.tensor(cell), torch.tensor(anchor, dtype=torch.float64)
    centre = (torch.tensor(offset, dtype=torch.float64) + cells) * stride
    boxes = torch.cat((centre, torch.tensor(share, dtype=torch.float64) * anchors))
    raw = encode_scaled(boxes, cells, anchors, stride)
    assert torch.isfinite(raw).all()
    torch.testing.assert_close(decode_scaled(raw, cells, anchors, stride), boxes)
    if all(0.01 < place < 0.99 for place in offset):
        raw = encode_yolov4(boxes, cells, anchors, stride)
        torch.testing.assert_close(decode_yolov4(raw, cells, anchors, stride), boxes)


@given(st.lists(st.floats(-8, 8), min_size=4, max_size=4))
def test_encoding_undoes_decoding(values: list[float]) -> None:
    raw = torch.tensor(values, dtype=torch.float64)
    cells, anchors = torch.tensor([3, 5]), torch.tensor([37.0, 58.0])
    for encode, undo in ((encode_scaled, decode_scaled), (encode_yolov4, decode_yolov4)):
        torch.testing.assert_close(
            encode(undo(raw, cells, anchors, 16), cells, anchors, 16), raw, rtol=1e-5, atol=1e-6
        )


def test_no_output_makes_an_infinite_box() -> None:
    raw = torch.tensor([0.0, 0.0, 1e4, -1e4])
    for undo in (decode_scaled, decode_yolov4):
        assert torch.isfinite(undo(raw, torch.zeros(2), torch.ones(2), 32)).all()


@given(st.integers(1, 2000), st.integers(1, 2000), boxes_xyxy(3))
def test_boxes_go_back_to_the_picture(height: int, width: int, boxes: Tensor) -> None:
    size = (320, 416)
    inside = boxes.clamp(min=0)
    inside[:, 0::2].clamp_(max=size[1])
    inside[:, 1::2].clamp_(max=size[0])
    picture = boxes_to_picture(inside.float().numpy(), size, (height, width))
    scale = np.array([size[1] / width, size[0] / height] * 2)
    np.testing.assert_allclose(picture * scale, inside.numpy(), rtol=1e-5, atol=1e-3)
    cut = boxes_to_picture(boxes.float().numpy(), size, (height, width))
    assert (cut >= 0).all()
    assert (cut <= np.array([width, height] * 2)).all()


def random_maps(seed: int, config: ModelConfig, batch: int = 1) -> Maps:
    """Maps for 64 x 96 pixels, of which a few hundred cells score."""
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * config.outputs_per_anchor
    return (
        2 * torch.randn(batch, outputs, 2, 3, generator=generator),
        2 * torch.randn(batch, outputs, 4, 6, generator=generator),
    )


@given(st.integers(0, 2**31), st.floats(0.05, 0.95), st.floats(0.1, 0.8), st.booleans())
def test_suppression_leaves_nothing_to_suppress(
    seed: int, score_threshold: float, iou_threshold: float, box_voting: bool
) -> None:
    config = replace(model_preset("spyv4"), codec="scaled", box_voting=box_voting)
    options = ReadOptions(
        score_threshold=score_threshold, iou_threshold=iou_threshold, max_detections=10_000
    )
    (found,) = decode(random_maps(seed, config), config, options)
    assert (found.scores >= np.float32(score_threshold)).all()
    assert (np.diff(found.scores) <= 0).all()
    boxes = torch.from_numpy(found.boxes_xyxy).double()
    overlaps = iou(boxes[:, None], boxes).fill_diagonal_(0)
    same = torch.from_numpy(found.labels[:, None] == found.labels)
    assert (overlaps[same] <= iou_threshold + 1e-5).all()


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.floats(0.2, 0.6))
def test_suppression_agrees_with_a_plain_loop(seed: int, iou_threshold: float) -> None:
    config = ModelConfig(class_names=("cat", "dog"), codec="scaled")
    maps = random_maps(seed, config)

    def found(threshold: float) -> RawDetections:
        options = ReadOptions(score_threshold=0.05, iou_threshold=threshold, max_detections=10_000)
        (raw,) = decode(maps, config, options)
        return raw

    candidates = found(1.0)
    boxes = torch.from_numpy(candidates.boxes_xyxy).double()
    overlaps = iou(boxes[:, None], boxes).numpy()
    overlaps[candidates.labels[:, None] != candidates.labels] = 0
    kept: list[int] = []
    for index in range(len(boxes)):
        if (overlaps[index, kept] <= iou_threshold).all():
            kept.append(index)
    left = found(iou_threshold)
    assert len(boxes) > 50
    np.testing.assert_array_equal(left.boxes_xyxy, candidates.boxes_xyxy[kept])
    np.testing.assert_array_equal(left.labels, candidates.labels[kept])
