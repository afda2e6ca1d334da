"""The annotated boxes that detections are measured against."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.voc import AnnotatedImage, Boxes, from_voc_pixels
from training.errors import DatasetError


@dataclass(frozen=True)
class GroundTruth:
    """All annotated boxes of a data set, one row a box.

    Attributes:
        image_ids: the pictures, each once.
        class_names: the classes that are measured.
        image_indices: int64 [M], the picture of each box.
        labels: int64 [M], the class of each box.
        boxes_xyxy: float64 [M, 4], continuous pixels.
        difficult: bool [M], boxes that count neither for nor against a detector.
    """

    image_ids: tuple[str, ...]
    class_names: tuple[str, ...]
    image_indices: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes_xyxy: Boxes
    difficult: NDArray[np.bool_]

    @property
    def boxes_per_class(self) -> dict[str, int]:
        """How many boxes that are not difficult each class has."""
        counts = np.bincount(self.labels[~self.difficult], minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))


def ground_truth_of(images: Sequence[AnnotatedImage], class_names: Sequence[str]) -> GroundTruth:
    """Collect the boxes of `images`, whose objects must be of the classes named.

    Raises:
        DatasetError: if there is no picture, or two have the same id (as two years might).
    """
    if not images:
        raise DatasetError("there is no picture to evaluate on")
    repeated = [name for name, n in Counter(i.image_id for i in images).items() if n > 1]
    if repeated:
        raise DatasetError(
            f"image id {repeated[0]!r} comes more than once; evaluate these sets one by one"
        )
    rows = [
        (index, class_names.index(item.class_name), item.box_xyxy, item.difficult)
        for index, image in enumerate(images)
        for item in image.objects
    ]
    return GroundTruth(
        image_ids=tuple(image.image_id for image in images),
        class_names=tuple(class_names),
        image_indices=np.array([row[0] for row in rows], dtype=np.int64),
        labels=np.array([row[1] for row in rows], dtype=np.int64),
        boxes_xyxy=from_voc_pixels(
            np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4)
        ),
        difficult=np.array([row[3] for row in rows], dtype=np.bool_),
    )
