import numpy as np

from detector_app.annotate import (
    PANEL_BGR,
    STATUS_HEIGHT,
    RasterStrip,
    class_colour,
    colour_hex,
    draw_boxes,
    shallow_and_deep,
    status_bar,
)
from spyv4 import Detections

PICTURE = np.full((120, 160, 3), 50, np.uint8)


def detections(**more):
    return Detections(
        np.array([[20, 30, 90, 100], [-5, -5, 400, 300]], np.float32),
        np.array([0.9, 0.6], np.float32),
        np.array([1, 0]),
        ("cat", "dog"),
        (120, 160),
        1,
        **more,
    )


def test_boxes_are_drawn_onto_a_copy():
    drawn = draw_boxes(PICTURE, detections())
    assert drawn.shape == PICTURE.shape
    assert (PICTURE == 50).all()
    assert tuple(int(v) for v in drawn[70, 20]) == class_colour(1)[::-1]


def test_the_highest_score_is_on_top():
    def drawn(*labels):
        boxes = np.tile(np.array([20, 60, 90, 100], np.float32), (len(labels), 1))
        scores = np.linspace(0.9, 0.5, len(labels), dtype=np.float32)
        found = Detections(boxes, scores, np.array(labels), ("cat", "motorbike"), (120, 160), 1)
        return draw_boxes(PICTURE, found)

    best, both = drawn(0), drawn(0, 1)
    assert (best[59, 22:40] != PICTURE[59, 22:40]).any(), "no label here"
    np.testing.assert_array_equal(both[61:], best[61:])
    np.testing.assert_array_equal(both[40:60, 20:50], best[40:60, 20:50])


def test_colours_are_fixed_and_differ():
    """Hues of 25.2, 247.7 and 110.2 degrees, at saturation 0.68 and value 1."""
    assert class_colour(0) == (255, 154, 82)
    assert [colour_hex(label) for label in (0, 1, 2)] == ["#ff9a52", "#6852ff", "#6eff52"]
    assert len({colour_hex(label) for label in range(80)}) == 80


def test_a_strip_shows_the_newest_read_at_the_right():
    strip = RasterStrip(["a", "b"], columns=10)
    strip.add(detections(rasters={"a": np.ones(8, bool), "b": np.zeros(8, bool)}))
    image = strip.render(100, 40)
    assert image.shape == (80, 100, 3)
    assert (image[5:40, 95] > 100).any()
    np.testing.assert_array_equal(image[30, 20], image[70, 20])
    assert not (image[45:80, 91:] > 100).any()


def test_the_status_bar_is_as_wide_as_asked():
    bar = status_bar("7 fps", 90)
    assert bar.shape == (STATUS_HEIGHT, 90, 3)
    assert bar.max() > 150


def test_one_layer_or_many():
    assert shallow_and_deep(["only"]) == ("only", "only")
    shallow, deep = shallow_and_deep([f"layer{i}" for i in range(19)])
    assert (shallow, deep) == ("layer1", "layer16")


def test_a_strip_without_reads_is_a_panel_with_a_name():
    strip = RasterStrip(["a"])
    empty = strip.render(100, 40)
    strip.add(detections(rasters={"a": np.zeros(8, bool)}))
    np.testing.assert_array_equal(strip.render(100, 40), empty)
    assert (empty[20:] == PANEL_BGR).all()
    assert (empty[:18, 5:20] > 100).any()
