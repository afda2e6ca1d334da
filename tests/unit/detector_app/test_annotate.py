import numpy as np

from detector_app.annotate import (
    PANEL_BGR,
    STATUS_HEIGHT,
    RasterStrip,
    shallow_and_deep,
    status_bar,
)
from spyv4 import Detections


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
