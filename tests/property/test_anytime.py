"""When two reads agree: the rule of `spyv4.anytime`, by hand and for whatever is found."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spyv4.anytime import Boxes, agree, stops
from spyv4.heads.decode import RawDetections
from spyv4.options import ReadOptions

STRICT = ReadOptions("auto", 0.2, agree_iou=0.5, agree_score=0.1, agree_margin=0.0, max_reads=4)
LENIENT = ReadOptions("auto", 0.2, agree_iou=0.5, agree_score=0.1, agree_margin=0.3)
BOX = (0.0, 0.0, 10.0, 10.0)
Row = tuple[tuple[float, float, float, float], float, int]


def found(*rows: Row) -> Boxes:
    """Boxes, scores and labels as a read has them."""
    return RawDetections(
        np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[1] for row in rows], np.float32),
        np.array([row[2] for row in rows], np.int64),
    )


@st.composite
def reads(draw: st.DrawFn, most: int = 4) -> list[Row]:
    """Few places, scores and classes, so that some agree."""
    corner = st.sampled_from([0.0, 2.0, 4.0])
    score = st.sampled_from([0.2, 0.25, 0.3, 0.45, 0.6])
    rows = []
    for _ in range(draw(st.integers(0, most))):
        x, y = draw(corner), draw(corner)
        rows.append(((x, y, x + 10, y + 10), draw(score), draw(st.integers(0, 1))))
    return rows


rules = st.builds(
    ReadOptions,
    st.just("auto"),
    st.just(0.2),
    agree_iou=st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    agree_score=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    agree_margin=st.sampled_from([0.0, 0.06, 0.3, 1.0]),
)


@given(reads(), rules)
def test_a_read_agrees_with_itself(rows: list[Row], rule: ReadOptions) -> None:
    assert agree(found(*rows), found(*rows), rule)


@given(reads(), reads(), rules)
def test_the_rule_is_symmetric(one: list[Row], other: list[Row], rule: ReadOptions) -> None:
    assert agree(found(*one), found(*other), rule) == agree(found(*other), found(*one), rule)


@given(reads(), reads(), rules, st.randoms())
def test_the_order_of_boxes_does_not_matter(
    one: list[Row], other: list[Row], rule: ReadOptions, random: np.random.Generator
) -> None:
    shuffled = list(one)
    random.shuffle(shuffled)
    assert agree(found(*one), found(*other), rule) == agree(found(*shuffled), found(*other), rule)


@given(reads(), rules, st.integers(0, 1))
def test_one_sure_box_more_disagrees(rows: list[Row], rule: ReadOptions, label: int) -> None:
    """Whatever it looks like, there is nothing left to pair it with; a third class is for sure."""
    assume(rule.agree_margin < 0.8)  # or no box is sure
    if all(row[1] >= 0.21 + rule.agree_margin for row in rows):
        assert not agree(found(*rows), found(*rows, (BOX, 1.0, label)), rule)
    assert not agree(found(*rows), found(*rows, (BOX, 1.0, 7)), rule)


@given(reads(most=3), reads(most=3), rules)
def test_the_rule_is_its_equation(one: list[Row], other: list[Row], rule: ReadOptions) -> None:
    """Tried out with every one-to-one map of a part onto a part."""
    assert agree(found(*one), found(*other), rule) == _by_trial(one, other, rule)


def _by_trial(one: list[Row], other: list[Row], rule: ReadOptions) -> bool:
    sure = np.float64(0.2) + rule.agree_margin
    places = [*range(len(other)), *[None] * len(one)]
    for chosen in set(itertools.permutations(places, len(one))):
        pairs = [(i, j) for i, j in enumerate(chosen) if j is not None]
        left = [one[i] for i, j in enumerate(chosen) if j is None]
        left += [row for j, row in enumerate(other) if j not in chosen]
        if any(np.float32(row[1]) >= sure for row in left):
            continue
        if all(_similar(one[i], other[j], rule) for i, j in pairs):
            return True
    return False


def _similar(a: Row, b: Row, rule: ReadOptions) -> bool:
    """i ~ j: boxes of 10 x 10 pixels, which all are here."""
    sides = [max(0.0, 10 - abs(a[0][k] - b[0][k])) for k in (0, 1)]
    common = sides[0] * sides[1]
    near = abs(float(np.float32(a[1])) - float(np.float32(b[1]))) <= rule.agree_score
    return a[2] == b[2] and near and common / (200 - common) >= rule.agree_iou


@pytest.mark.parametrize(
    ("other", "agreed"),
    [
        ([(BOX, 0.9, 0)], True),
        ([((0, 0, 10, 6), 0.9, 0)], True),  # IoU 0.6
        ([((0, 0, 10, 4), 0.9, 0)], False),  # IoU 0.4
        ([(BOX, 0.82, 0)], True),
        ([(BOX, 0.78, 0)], False),
        ([(BOX, 0.9, 1)], False),
        ([], False),
        ([(BOX, 0.9, 0), (BOX, 0.9, 0)], False),
    ],
)
def test_boxes_that_agree(other: list[Row], agreed: bool) -> None:
    assert agree(found((BOX, 0.9, 0)), found(*other), STRICT) == agreed


def test_what_finds_nothing_agrees() -> None:
    assert agree(found(), found(), STRICT)


def test_a_box_near_the_threshold_may_come_and_go() -> None:
    kept = (BOX, 0.9, 0)
    for score, agreed in ((0.45, True), (0.55, False)):
        assert agree(found(kept), found(kept, ((50, 0, 60, 9), score, 1)), LENIENT) == agreed
    assert not agree(found(kept), found(kept, ((50, 0, 60, 9), 0.45, 1)), STRICT)


def test_a_pairing_is_found_where_the_nearest_is_not_free() -> None:
    """Each of the left has the middle box as its best, and only one of them another."""
    left = [((0, 0, 10, 10), 0.9, 0), ((0, 0, 10, 13), 0.9, 0)]
    right = [((0, 0, 10, 11), 0.9, 0), ((0, 0, 10, 19), 0.9, 0)]
    assert agree(found(*left), found(*right), STRICT)
    assert agree(found(*left[::-1]), found(*right), STRICT)


def test_a_box_without_area_agrees_with_itself_alone() -> None:
    flat = ((3, 3, 3, 9), 0.9, 0)
    assert agree(found(flat), found(flat), STRICT)
    assert not agree(found(flat), found((BOX, 0.9, 0)), STRICT)


def test_a_picture_stops_at_agreement_or_at_the_most() -> None:
    one, other = found((BOX, 0.9, 0)), found()
    assert not stops(1, None, one, STRICT)
    assert stops(2, one, one, STRICT)
    assert not stops(3, one, other, STRICT)
    assert stops(4, one, other, STRICT)
