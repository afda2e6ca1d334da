import importlib.util
import socket
import subprocess
import sys

import numpy as np
import pytest
import skimage.data

from detector_app.errors import SourceError
from detector_app.stream.demo import (
    FRAME_SIZE,
    PHOTOGRAPHS,
    SHOT_FRAMES,
    DemoSource,
    photograph,
)
from tests.helpers.demo_view import OBJECTS, demo_views


@pytest.fixture(scope="module")
def demo():
    return DemoSource()


def test_photographs_load_without_a_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the demo tried to use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    source = DemoSource()
    source.open()
    assert source.read().shape == (*FRAME_SIZE, 3)


def test_a_frame_depends_on_its_number_alone(demo):
    again = DemoSource()
    again.open()
    for index in range(5):
        np.testing.assert_array_equal(again.read(), demo.frame(index))


@pytest.fixture(scope="module")
def views():
    return demo_views(range(3 * SHOT_FRAMES))


def test_every_photograph_is_shown_whole_and_in_part(views):
    for class_name, _ in OBJECTS.values():
        whole = [view.whole for view in views if view.class_name == class_name]
        assert any(whole)
        assert not all(whole)


def test_the_view_moves_smoothly_within_a_shot(views):
    boxes = np.array([view.box for view in views[:SHOT_FRAMES]])
    assert np.abs(np.diff(boxes, axis=0)).max() < 12
    assert np.ptp(boxes, axis=0).max() > 40


def test_the_box_lies_in_the_frame(views):
    for view in views:
        assert 0 <= view.box.left < view.box.right <= FRAME_SIZE[1]
        assert 0 <= view.box.top < view.box.bottom <= FRAME_SIZE[0]
        assert 0.2 < view.visible <= 1 + 1e-9


def test_the_photographs_are_those_of_scikit_image():
    for name, of_skimage in zip(PHOTOGRAPHS, ("astronaut", "chelsea", None), strict=True):
        if of_skimage is not None:
            rgb = getattr(skimage.data, of_skimage)()
            np.testing.assert_array_equal(photograph(name), rgb[..., ::-1])
    left, _, _ = skimage.data.stereo_motorcycle()
    np.testing.assert_array_equal(photograph("motorcycle_left"), left[..., ::-1])


def test_the_demo_does_without_the_imports_of_scikit_image():
    code = (
        "import sys; from detector_app.stream.demo import DemoSource; DemoSource().read(); "
        "print([m for m in ('skimage', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_demo_without_its_photographs_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SourceError, match=r"spyv4\[app\]"):
        DemoSource().open()
