"""What is written about a picture: boxes with class and score, in three layouts' terms."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data import AnnotatedImage
from training.evaluate.predictions import Predictions

LEAST_SIDE_PX = 1.0
"""Of a box; thinner ones cannot be said in VOC's whole pixels."""
DECIMALS = 2
"""Of a box in pixels."""


@dataclass(frozen=True)
class Label:
    """One box that was found.

    Attributes:
        class_name: its class.
        box_xyxy: continuous pixels of the picture as stored, from 0, to the hundredth.
        score: of the detector, 0..1.
        difficult: whether the score is too low for an object to learn.
    """

    class_name: str
    box_xyxy: tuple[float, float, float, float]
    score: float
    difficult: bool


@dataclass(frozen=True)
class LabelledPicture:
    """A picture and what was found on it.

    Attributes:
        name: without ending, fit for a file name, and no other picture's.
        path: the picture file.
        size: (height, width) in pixels.
        labels: highest score first.
    """

    name: str
    path: Path
    size: tuple[int, int]
    labels: tuple[Label, ...]


def labelled(
    images: Sequence[AnnotatedImage],
    predictions: Predictions,
    class_names: Sequence[str],
    min_score: float,
) -> list[LabelledPicture]:
    """The pictures with what was found on each.

    Args:
        images: the pictures, whose ids become names.
        predictions: what was found on them.
        class_names: what the predictions' labels mean.
        min_score: what scores less is difficult.
    """
    boxes = predictions.boxes_xyxy.round(DECIMALS)
    sides = boxes[:, 2:] - boxes[:, :2]
    order = np.argsort(-predictions.scores, kind="stable")
    found: list[list[Label]] = [[] for _ in images]
    for row in order[sides[order].min(1) >= LEAST_SIDE_PX]:
        left, top, right, bottom = boxes[row].tolist()
        score = float(predictions.scores[row])
        found[predictions.image_indices[row]].append(
            Label(
                class_names[predictions.labels[row]],
                (left, top, right, bottom),
                score,
                difficult=score < min_score,
            )
        )
    return [
        LabelledPicture(image.image_id, image.image_path, image.size, tuple(labels))
        for image, labels in zip(images, found, strict=True)
    ]
