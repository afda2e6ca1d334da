"""Pictures to look at, and whether two looks saw the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spyv4 import Detections

# An untrained network is sure of nothing.
ANY: dict[str, Any] = {"score_threshold": 0.002}


def frame(seed: int = 0, size: tuple[int, int] = (50, 70)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)


def assert_same(one: Detections, other: Detections) -> None:
    assert len(one) > 0, "nothing was found, which nothing can be compared with"
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)
    np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-2)
    assert (one.reads, one.image_size) == (other.reads, other.image_size)
