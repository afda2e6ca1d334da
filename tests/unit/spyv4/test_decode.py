import resource
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from spyv4 import ReadOptions
from spyv4.config import ModelConfig
from spyv4.errors import ArgumentError
from spyv4.heads.boxes import iou
from spyv4.heads.decode import MIN_CANDIDATES, RawDetections, decode
from spyv4.heads.levels import split_levels
from spyv4.heads.nms import VOTING_IOU, vote
from spyv4.network.readout import Maps
from tests.helpers.encoding import encode_scaled

CONFIG = ModelConfig(class_names=("cat", "dog", "bus"), image_size=(96, 128), codec="scaled")
OUTPUTS = 3 * CONFIG.outputs_per_anchor
CERTAIN, NEVER = 12.0, -20.0


def silent(batch: int = 1) -> Maps:
    """Maps of 96 x 128 pixels on which nothing is found."""
    return (
        torch.full((batch, OUTPUTS, 3, 4), NEVER),
        torch.full((batch, OUTPUTS, 6, 8), NEVER),
    )


def put(
    maps: Maps,
    box_cxcywh: tuple[float, float, float, float],
    classes: dict[int, float],
    *,
    image: int = 0,
    anchor: int = 0,
    level: int = 1,
) -> None:
    """Write a box into the cell of its centre, or the nearest cell."""
    raw, anchors, stride = split_levels(maps, CONFIG)[level]
    box = torch.tensor(box_cxcywh)
    limit = torch.tensor([raw.shape[3] - 1, raw.shape[2] - 1])
    cell = (box[:2] / stride).floor().clamp(min=torch.zeros(2), max=limit)
    raw[image, anchor, int(cell[1]), int(cell[0]), :4] = encode_scaled(
        box, cell, anchors[anchor], stride
    )
    raw[image, anchor, int(cell[1]), int(cell[0]), 4] = CERTAIN
    for label, logit in classes.items():
        raw[image, anchor, int(cell[1]), int(cell[0]), 5 + label] = logit


def look(maps: Maps, *, voting: bool = False, **changes: Any) -> list[RawDetections]:
    options: dict[str, Any] = {"score_threshold": 0.25, "iou_threshold": 0.5} | changes
    config = replace(CONFIG, box_voting=voting)
    return decode(maps, config, ReadOptions(**options))


def test_a_box_comes_out_where_it_was_put() -> None:
    for level, box in ((0, (70.0, 40.0, 90.0, 60.0)), (1, (35.0, 52.0, 30.0, 20.0))):
        maps = silent()
        put(maps, box, {2: CERTAIN}, level=level)
        (found,) = look(maps)
        cx, cy, width, height = box
        expected = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
        np.testing.assert_allclose(found.boxes_xyxy, [expected], rtol=1e-4)
        assert found.labels.tolist() == [2]
        assert found.boxes_xyxy.dtype == np.float32
        assert (found.scores.dtype, found.labels.dtype) == (np.float32, np.int64)


def test_score_is_objectness_times_class() -> None:
    maps = silent()
    put(maps, (35.0, 52.0, 30.0, 20.0), {0: 0.0, 1: 1.0})
    raw = split_levels(maps, CONFIG)[1].raw
    raw[..., 4][raw[..., 4] == CERTAIN] = 2.0
    (found,) = look(maps)
    goal = torch.tensor(2.0).sigmoid() * torch.tensor([1.0, 0.0]).sigmoid()
    np.testing.assert_allclose(found.scores, goal, rtol=1e-6)
    assert found.labels.tolist() == [1, 0]


def test_nothing_found_is_empty_and_typed() -> None:
    (found,) = look(silent())
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)
    assert (found.boxes_xyxy.dtype, found.labels.dtype) == (np.float32, np.int64)


def test_threshold_lets_its_own_value_pass() -> None:
    maps = silent()
    put(maps, (35.0, 52.0, 30.0, 20.0), {0: 0.0})
    score = (torch.tensor(CERTAIN).sigmoid() * 0.5).item()
    assert len(look(maps, score_threshold=score)[0].scores) == 1
    assert len(look(maps, score_threshold=score + 1e-6)[0].scores) == 0


def overlapping(label_of_second: int) -> Maps:
    """Two boxes, IoU 0.9, of which the first scores higher."""
    maps = silent()
    put(maps, (60.0, 40.0, 40.0, 40.0), {0: 3.0}, anchor=1)
    put(maps, (60.0, 42.1, 40.0, 40.0), {label_of_second: 2.0}, anchor=2)
    return maps


def test_suppression_is_class_by_class() -> None:
    (same,) = look(overlapping(0))
    assert same.labels.tolist() == [0]
    assert same.scores[0] > 0.94
    (other,) = look(overlapping(1))
    assert other.labels.tolist() == [0, 1]
    assert len(look(overlapping(0), iou_threshold=0.95)[0].scores) == 2


def test_suppression_may_compare_all_classes() -> None:
    (found,) = look(overlapping(1), agnostic_nms=True)
    assert found.labels.tolist() == [0]
    assert found.scores[0] > 0.94
    both = look(overlapping(1), agnostic_nms=True, iou_threshold=0.95)[0]
    assert both.labels.tolist() == [0, 1]


def test_a_voted_box_is_the_mean_by_score_of_what_was_found_there() -> None:
    maps = overlapping(0)
    alone = look(maps, iou_threshold=0.95)[0]
    (voted,) = look(maps, voting=True)
    goal = np.average(alone.boxes_xyxy, axis=0, weights=alone.scores)
    np.testing.assert_allclose(voted.boxes_xyxy, [goal], rtol=1e-6)
    assert voted.scores.tolist() == alone.scores[:1].tolist()
    assert 0.5 < voted.boxes_xyxy[0, 1] - alone.boxes_xyxy[0, 1] < 2


def test_boxes_of_other_classes_vote_where_classes_are_compared_alone() -> None:
    maps = overlapping(1)
    alone, apart = look(maps)[0], look(maps, voting=True)[0]
    np.testing.assert_allclose(apart.boxes_xyxy, alone.boxes_xyxy, rtol=1e-6)
    (together,) = look(maps, voting=True, agnostic_nms=True)
    goal = np.average(alone.boxes_xyxy, axis=0, weights=alone.scores)
    np.testing.assert_allclose(together.boxes_xyxy, [goal], rtol=1e-6)


def test_many_boxes_vote_as_few_do_in_little_memory() -> None:
    """Ten thousand that all survive: every pair at once would take gigabytes."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 10_000, (10_000, 2)).astype(np.float32)
    boxes = np.concatenate((corners, corners + 30), axis=1)
    scores, labels = rng.uniform(0.1, 1, 10_000).astype(np.float32), np.zeros(10_000, np.int64)
    everyone = np.argsort(-scores)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    voted = vote(boxes, scores, labels, everyone)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    for place in (0, 63, 64, 9_999):
        own = torch.from_numpy(boxes[everyone[place]])
        near = (iou(own, torch.from_numpy(boxes)) >= VOTING_IOU).numpy()
        goal = np.average(boxes[near], axis=0, weights=scores[near])
        np.testing.assert_allclose(voted[place], goal, rtol=1e-5)


def test_boxes_apart_are_not_moved_by_voting() -> None:
    maps = silent()
    put(maps, (35.0, 52.0, 30.0, 20.0), {0: CERTAIN})
    put(maps, (70.0, 40.0, 20.0, 20.0), {0: 0.0})
    (alone,), (voted,) = look(maps), look(maps, voting=True)
    np.testing.assert_allclose(voted.boxes_xyxy, alone.boxes_xyxy, rtol=1e-6)


def test_boxes_beyond_the_edge_are_no_rivals_of_another_class() -> None:
    """What keeps the classes apart must hold for negative coordinates too."""
    maps = silent()
    put(maps, (126.0, 95.0, 100.0, 160.0), {0: CERTAIN}, anchor=2)
    put(maps, (2.0, 2.0, 100.0, 100.0), {1: 2.0}, anchor=2)
    (found,) = look(maps, iou_threshold=0.05)
    assert found.labels.tolist() == [0, 1]


def test_the_best_detections_are_kept_in_their_order() -> None:
    maps = silent()
    for index in range(6):
        put(maps, (12.0 + 20 * index, 40.0, 8.0, 8.0), {index % 3: index - 2.0})
    (everything,) = look(maps, score_threshold=0.01)
    assert len(everything.scores) == 6
    assert everything.labels[0] == 2
    (best,) = look(maps, score_threshold=0.01, max_detections=2)
    np.testing.assert_array_equal(best.scores, everything.scores[:2])
    np.testing.assert_array_equal(best.boxes_xyxy, everything.boxes_xyxy[:2])


def test_too_many_candidates_leave_the_best() -> None:
    maps = torch.zeros(1, OUTPUTS, 3, 4), torch.zeros(1, OUTPUTS, 40, 40)
    put(maps, (60.0, 40.0, 40.0, 40.0), {1: CERTAIN})
    assert MIN_CANDIDATES < 3 * 3 * 40 * 40
    (found,) = look(maps, score_threshold=0.1, max_detections=1)
    assert found.labels.tolist() == [1]
    assert found.scores[0] > 0.99


def test_pictures_of_a_batch_do_not_mix() -> None:
    maps = silent(3)
    put(maps, (35.0, 52.0, 30.0, 20.0), {0: CERTAIN}, image=0)
    put(maps, (35.0, 52.0, 30.0, 20.0), {1: CERTAIN}, image=2)
    assert [found.labels.tolist() for found in look(maps)] == [[0], [], [1]]


def test_maps_in_half_precision_are_decoded_in_float32() -> None:
    maps = silent()
    put(maps, (35.0, 52.0, 30.0, 20.0), {0: 3.0})
    half = tuple(m.bfloat16() for m in maps)
    (found,) = look(half)
    (same,) = look(tuple(m.float() for m in half))
    np.testing.assert_array_equal(found.boxes_xyxy, same.boxes_xyxy)


def test_levels_have_their_anchors() -> None:
    config = ModelConfig()
    maps = torch.zeros(2, 75, 13, 13), torch.zeros(2, 75, 26, 26)
    coarse, fine = split_levels(maps, config)
    assert coarse.raw.shape == (2, 3, 13, 13, 25)
    assert fine.raw.shape == (2, 3, 26, 26, 25)
    assert coarse.anchors.tolist() == [[81, 82], [135, 169], [344, 319]]
    assert fine.anchors.tolist() == [[23, 27], [37, 58], [81, 82]]
    assert (coarse.stride, fine.stride) == (32, 16)


def test_outputs_are_read_anchor_by_anchor() -> None:
    """Channel k of the map is value k % 8 of anchor k // 8 (three classes)."""
    values: Tensor = torch.arange(OUTPUTS, dtype=torch.float32)
    coarse = values.view(1, -1, 1, 1).expand(1, OUTPUTS, 3, 4)
    level = split_levels((coarse, silent()[1]), CONFIG)[0]
    assert level.raw[0, 1, 2, 3].tolist() == list(range(8, 16))


def test_only_some_classes_are_looked_for() -> None:
    """They leave room for others in the number of detections, and are no rivals."""
    assert look(overlapping(1))[0].labels.tolist() == [0, 1]
    (found,) = look(overlapping(1), classes=(CONFIG.class_names[1],), agnostic_nms=True)
    assert found.labels.tolist() == [1]
    (found,) = look(overlapping(1), classes=CONFIG.class_names[1::-1], max_detections=1)
    assert found.labels.tolist() == [0]
    with pytest.raises(ArgumentError, match="unknown class 'ct'; did you mean 'cat'"):
        look(silent(), classes=("ct",))
