"""The objects of an annotated picture that are learned."""

import numpy as np
from numpy.typing import NDArray

from training.data.voc import AnnotatedImage, from_voc_pixels


def training_objects(image: AnnotatedImage, class_names: tuple[str, ...]) -> NDArray[np.float32]:
    """What is to be learned from a picture, as in `training.data.pictures.Sample`."""
    objects = [item for item in image.objects if not item.difficult]
    height, width = image.size
    rows = np.empty((len(objects), 5), np.float32)
    boxes = np.array([item.box_xyxy for item in objects], np.float64).reshape(-1, 4)
    rows[:, :4] = np.clip(from_voc_pixels(boxes) / [width, height, width, height], 0, 1)
    rows[:, 4] = [class_names.index(item.class_name) for item in objects]
    return rows
