"""The objects of an annotated picture, as training sees them."""

import numpy as np
from numpy.typing import NDArray

from training.data.voc import AnnotatedImage, from_voc_pixels

UNSURE = -1
"""Class of what is marked difficult: not to be learned, nor to be taken for background."""


def training_objects(image: AnnotatedImage, class_names: tuple[str, ...]) -> NDArray[np.float32]:
    """What is in a picture, as in `training.data.pictures.Sample`."""
    objects = image.objects
    height, width = image.size
    rows = np.empty((len(objects), 5), np.float32)
    boxes = np.array([item.box_xyxy for item in objects], np.float64).reshape(-1, 4)
    rows[:, :4] = np.clip(from_voc_pixels(boxes) / [width, height, width, height], 0, 1)
    rows[:, 4] = [
        UNSURE if item.difficult else class_names.index(item.class_name) for item in objects
    ]
    return rows
