import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from spyv4 import Detections, Detector
from spyv4.drawing import class_colour, colour_hex, write_picture
from spyv4.errors import ArgumentError, ImageError, RuntimeUnavailableError
from tests.helpers.looking import ANY, frame
from tests.helpers.tiny_model import tiny_model

PICTURE = np.full((120, 160, 3), 50, np.uint8)
NOISE = frame(3, (120, 160))


def found(**more: Any) -> Detections:
    """A dog, a cat that sticks out of the picture, and a dog."""
    return Detections(
        np.array([[20, 30, 90, 100], [-5, -5, 400, 300], [100.4, 10.6, 120.2, 40]], np.float32),
        np.array([0.9, 0.6, 0.3], np.float32),
        np.array([1, 0, 1]),
        ("cat", "dog", "horse"),
        (120, 160),
        2,
        **more,
    )


NOTHING: NDArray[np.int64] = np.zeros(0, np.int64)


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (0, [0]),
        (-1, [2]),
        (np.int64(1), [1]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        (np.array([1, 1]), [1, 1]),
        (NOTHING, []),
    ],
)
def test_indexing_gives_some_of_the_objects(index: Any, rows: list[int]) -> None:
    whole = found(tracks=np.array([4, 0, 7]), firing_rates={"p5": 0.5}, timings_ms={"network": 3.0})
    part = whole[index]
    np.testing.assert_array_equal(part.boxes_xyxy, whole.boxes_xyxy[rows].reshape(-1, 4))
    np.testing.assert_array_equal(part.scores, whole.scores[rows])
    assert part.names == [whole.names[row] for row in rows]
    assert part.tracks is not None
    assert part.tracks.tolist() == [[4, 0, 7][row] for row in rows]
    assert (part.reads, part.image_size, part.firing_rates) == (2, (120, 160), {"p5": 0.5})
    assert found()[index].tracks is None


def test_an_object_that_is_not_there() -> None:
    for index in (3, -4, [0, 3]):
        with pytest.raises(IndexError, match="out of bounds"):
            found()[index]
    with pytest.raises(IndexError, match="boolean"):
        found()[np.array([True])]


def test_iterating_gives_one_object_at_a_time() -> None:
    assert [(len(one), one.names, one.scores[0]) for one in found()] == [
        (1, ["dog"], np.float32(0.9)),
        (1, ["cat"], np.float32(0.6)),
        (1, ["dog"], np.float32(0.3)),
    ]
    assert list(found()[NOTHING]) == []


def test_filtering_by_class_and_score() -> None:
    assert found().filter().names == ["dog", "cat", "dog"]
    assert found().filter("cat").names == found().filter(classes=["cat", "horse"]).names == ["cat"]
    assert found().filter(["dog"], score=0.5).scores.tolist() == pytest.approx([0.9])
    assert found().filter(score=float(np.float32(0.6))).names == ["dog", "cat"]
    assert len(found().filter([])) == 0
    with pytest.raises(ArgumentError, match="unknown class 'hose'; did you mean 'horse'"):
        found().filter(["dog", "hose"])
    with pytest.raises(ArgumentError, match="unknown class 'x'; choose from cat, dog, horse"):
        found().filter("x")


def test_boxes_are_drawn_onto_a_copy() -> None:
    drawn = found().plot(PICTURE)
    assert (drawn.shape, drawn.dtype) == (PICTURE.shape, np.uint8)
    assert (PICTURE == 50).all()
    assert tuple(int(v) for v in drawn[70, 20]) == class_colour(1)[::-1]
    np.testing.assert_array_equal(found()[NOTHING].plot(PICTURE), PICTURE)


def test_a_picture_of_any_kind_is_drawn_onto(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", NOISE)
    expected = found().plot(NOISE)
    for picture in (tmp_path / "a.png", Image.open(tmp_path / "a.png")):
        np.testing.assert_array_equal(found().plot(picture), expected)
    with pytest.raises(ImageError, match="does not exist"):
        found().plot(tmp_path / "b.png")


def test_another_picture_is_refused() -> None:
    for use in (found().plot, found().crop, lambda image: found().save("never.png", image)):
        with pytest.raises(ArgumentError, match="found in, 160 x 120 pixels, not 120 x 160"):
            use(PICTURE.transpose(1, 0, 2))


def test_the_highest_score_is_on_top() -> None:
    def drawn(*labels: int) -> NDArray[np.uint8]:
        boxes = np.tile(np.array([20, 60, 90, 100], np.float32), (len(labels), 1))
        scores = np.linspace(0.9, 0.5, len(labels), dtype=np.float32)
        names = ("cat", "motorbike")
        return Detections(boxes, scores, np.array(labels), names, (120, 160), 1).plot(PICTURE)

    best, both = drawn(0), drawn(0, 1)
    assert (best[59, 22:40] != PICTURE[59, 22:40]).any(), "no label here"
    np.testing.assert_array_equal(both[61:], best[61:])
    np.testing.assert_array_equal(both[40:60, 20:50], best[40:60, 20:50])


def test_the_number_of_a_track_is_drawn() -> None:
    plain = found().plot(PICTURE)
    np.testing.assert_array_equal(found(tracks=np.zeros(3, np.int64)).plot(PICTURE), plain)
    assert (found(tracks=np.array([0, 0, 8])).plot(PICTURE) != plain).any()


def test_colours_are_fixed_and_differ() -> None:
    """Hues of 25.2, 247.7 and 110.2 degrees, at saturation 0.68 and value 1."""
    assert class_colour(0) == (255, 154, 82)
    assert [colour_hex(label) for label in (0, 1, 2)] == ["#ff9a52", "#6852ff", "#6eff52"]
    assert len({colour_hex(label) for label in range(80)}) == 80


def test_saving_writes_what_is_plotted(tmp_path: Path) -> None:
    found().save(tmp_path / "new" / "a.png", NOISE)
    written = cv2.imread(str(tmp_path / "new" / "a.png"))
    assert written is not None
    np.testing.assert_array_equal(written, found().plot(NOISE))
    found().save(str(tmp_path / "b.jpg"), NOISE)
    assert (tmp_path / "b.jpg").read_bytes()[:3] == b"\xff\xd8\xff"
    for name in ("c.xyz", "d"):
        with pytest.raises(ArgumentError, match=f"{name} must end in the suffix of a picture"):
            found().save(tmp_path / name, NOISE)


def test_crops_are_what_is_in_the_boxes() -> None:
    dog, cat, small = found().crop(NOISE)
    np.testing.assert_array_equal(dog, NOISE[30:100, 20:90])
    np.testing.assert_array_equal(cat, NOISE)
    np.testing.assert_array_equal(small, NOISE[10:40, 100:121])
    dog[:] = 0
    assert NOISE[30:100, 20:90].any(), "the crop is no copy"


def test_a_crop_has_at_least_a_pixel() -> None:
    boxes = np.array([[160, 120, 160, 120], [7, 8, 7, 8]], np.float32)
    thin = Detections(boxes, np.ones(2, np.float32), np.zeros(2, np.int64), ("a",), (120, 160), 1)
    corner, inside = thin.crop(NOISE)
    np.testing.assert_array_equal(corner, NOISE[-1:, -1:])
    np.testing.assert_array_equal(inside, NOISE[8:9, 7:8])


def test_plain_values_can_be_sent() -> None:
    rates = {"p5": np.float32(0.25)}
    sent = json.loads(
        json.dumps(found(firing_rates=rates, timings_ms={"network": 1.234}).to_dict())
    )
    assert sent.pop("detections") == found().to_list()
    assert sent == {
        "width": 160,
        "height": 120,
        "reads": 2,
        "firing_rates": {"p5": 0.25},
        "timings_ms": {"network": 1.23},
    }
    assert all("track" not in row for row in found().to_list())
    tracked = json.loads(json.dumps(found(tracks=np.array([4, 0, 7])).to_list()))
    assert [row["track"] for row in tracked] == [4, None, 7]


def test_results_of_coco() -> None:
    rows = json.loads(json.dumps(found().to_coco(17)))
    assert rows[0] == {
        "image_id": 17,
        "category_id": 1,
        "bbox": [20, 30, 70, 70],
        "score": pytest.approx(0.9),
    }
    assert rows[2]["bbox"] == [100.4, 10.6, 19.8, 29.4]
    numbered = found().to_coco(1, {"cat": 17, "dog": 18})
    assert [row["category_id"] for row in numbered] == [18, 17, 18]
    with pytest.raises(ArgumentError, match="category_ids must have a number for dog"):
        found().to_coco(1, {"cat": 17})


def test_objects_for_supervision() -> None:
    theirs = found(tracks=np.array([4, 0, 7])).to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, found().boxes_xyxy)
    np.testing.assert_array_equal(theirs.confidence, found().scores)
    np.testing.assert_array_equal(theirs.class_id, found().labels)
    np.testing.assert_array_equal(theirs.tracker_id, [4, 0, 7])
    assert list(theirs.data["class_name"]) == ["dog", "cat", "dog"]
    assert found().to_supervision().tracker_id is None
    assert len(found()[NOTHING].to_supervision()) == 0


def test_supervision_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'spyv4\[track\]'"):
        found().to_supervision()


def test_a_real_result_is_drawn_cut_and_told() -> None:
    detector = Detector.from_model(tiny_model())
    result = detector.detect(frame(), **ANY)
    assert len(result.crop(frame())) == len(result) > 3
    assert result.plot(frame()).shape == frame().shape
    assert json.dumps(result.to_dict())
    assert len(result.to_coco(1)) == len(result[:]) == len(result.to_supervision())
