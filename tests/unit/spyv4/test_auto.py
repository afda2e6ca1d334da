"""`reads="auto"`: a picture gets reads until two of them agree."""

import itertools
from typing import Any

import numpy as np
import pytest

from spyv4 import Detector, ReadOptions
from spyv4.anytime import agree
from spyv4.errors import ConfigError
from spyv4.runtime.base import StepResult
from tests.helpers.looking import assert_same, frame
from tests.unit.detector_app.lively import lively_detector

# So that the pictures below stop after different numbers of reads.
RULE: dict[str, Any] = {
    "score_threshold": 0.62,
    "agree_iou": 0.5,
    "agree_score": 0.1,
    "agree_margin": 0.1,
    "max_reads": 6,
}
PICTURES: list[Any] = [frame(seed, (50 + seed, 70)) for seed in range(6)]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return lively_detector()


def wanted(detector: Detector, picture: Any, **rule: Any) -> int:
    """The number of reads by the equation, from all reads there may be."""
    options = ReadOptions("auto", **(RULE | rule))
    fixed = {name: value for name, value in rule.items() if name != "max_reads"}
    found = list(detector.reads(picture, options.max_reads, **(RULE | fixed)))
    for before, now in itertools.pairwise(found):
        if agree(before, now, options):
            return now.reads
    return options.max_reads


def test_a_picture_gets_the_reads_that_the_rule_says(detector: Detector) -> None:
    taken = []
    for picture in PICTURES:
        found = detector.detect(picture, reads="auto", **RULE)
        taken.append(found.reads)
        assert found.reads == wanted(detector, picture)
        assert_same(found, detector.detect(picture, found.reads, **RULE))
    assert len(set(taken)) > 1, taken


def test_reads_end_with_the_one_that_agrees(detector: Detector) -> None:
    for picture in PICTURES[:3]:
        found = list(detector.reads(picture, "auto", **RULE))
        assert [each.reads for each in found] == list(range(1, wanted(detector, picture) + 1))
        assert_same(found[-1], detector.detect(picture, "auto", **RULE))


def test_pictures_of_a_list_stop_each_by_itself(detector: Detector) -> None:
    for found, picture in zip(detector.detect(PICTURES, "auto", **RULE), PICTURES, strict=True):
        assert_same(found, detector.detect(picture, "auto", **RULE))


def test_who_stopped_is_looked_at_no_further(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, batches = detector.runtime.step, []

    def counted(prepared: Any, *arguments: Any, **options: Any) -> StepResult:
        batches.append(len(prepared))
        return step(prepared, *arguments, **options)

    monkeypatch.setattr(detector.runtime, "step", counted)
    found = detector.detect(PICTURES, "auto", **RULE)
    taken = [each.reads for each in found]
    assert batches == [sum(t > read for t in taken) for read in range(max(taken))]


def test_a_stream_stops_at_every_frame(detector: Detector) -> None:
    for found, picture in zip(detector.stream(PICTURES, "auto", **RULE), PICTURES, strict=True):
        assert_same(found, detector.detect(picture, "auto", **RULE))


def test_a_carried_state_is_that_of_the_last_read(detector: Detector) -> None:
    """Two frames that are one: as many reads of it as both got together."""
    options = RULE | {"carry_state": True}
    one, other = detector.stream([PICTURES[0]] * 2, "auto", **options)
    together = detector.detect(PICTURES[0], one.reads + other.reads, **RULE)
    np.testing.assert_array_equal(other.scores, together.scores)


def test_the_parameters_do_what_they_say(detector: Detector) -> None:
    easy = RULE | {"agree_margin": 1.0}
    assert all(each.reads == 2 for each in detector.detect(PICTURES, "auto", **easy))
    hard = RULE | {"agree_iou": 1.0, "agree_score": 0.0, "agree_margin": 0.0}
    assert [each.reads for each in detector.detect(PICTURES[:2], "auto", **hard)] == [6, 6]
    once = RULE | {"max_reads": 1}
    assert detector.detect(PICTURES[0], "auto", **once).reads == 1
    nothing_found = RULE | {"score_threshold": 1.0}
    assert detector.detect(PICTURES[0], "auto", **nothing_found).reads == 2


def test_the_threshold_is_that_of_the_weights_unless_one_is_given() -> None:
    detector = lively_detector(score_threshold=RULE["score_threshold"])
    rule = {name: value for name, value in RULE.items() if name != "score_threshold"}
    for picture in PICTURES[:3]:
        assert detector.detect(picture, "auto", **rule).reads == wanted(detector, picture)


def test_activity_is_that_of_the_last_read(detector: Detector) -> None:
    found = detector.detect(PICTURES, "auto", activity=True, **RULE)
    for each, picture in zip(found, PICTURES, strict=True):
        alone = detector.detect(picture, each.reads, activity=True, **RULE)
        assert each.firing_rates == pytest.approx(alone.firing_rates, abs=1e-6)
        *_, last = detector.reads(picture, each.reads, activity=True, **RULE)
        assert each.operations == pytest.approx(dict(last.operations))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reads": "often"}, "reads must be a whole number of at least 1, or 'auto', not 'often'"),
        ({"reads": "auto", "max_reads": 257}, "max_reads must be at most 256, not 257"),
        ({"reads": "auto", "agree_iou": 1.5}, "agree_iou must be at most 1, not 1.5"),
        ({"reads": "auto", "agree_score": -1.0}, "agree_score must be at least 0, not -1.0"),
        ({"reads": "auto", "agree_margin": 2.0}, "agree_margin must be at most 1, not 2.0"),
    ],
)
def test_what_is_out_of_range_is_named(
    detector: Detector, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        detector.detect(PICTURES[0], **options)
