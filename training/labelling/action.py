"""What `spyv4-label` does."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spyv4.config import VOC_CLASSES, check_image_size
from spyv4.detector import Detector
from spyv4.errors import ArgumentError
from spyv4.options import ReadOptions
from training.choices import ALL_CLASSES
from training.data import AnnotatedImage
from training.distillation.coco_classes import COCO_CLASSES, coco_index
from training.distillation.teacher import Teacher
from training.evaluate.predictions import Predictions
from training.evaluate.runner import run_detector
from training.labelling.labels import LabelledPicture, labelled
from training.labelling.pictures import check_pictures, find_pictures
from training.labelling.write import write_labelled
from training.labelling.yolox import run_teacher

_DIFFICULT = {
    "voc": "marked difficult",
    "coco": "marked iscrowd",
    "yolo": "unsure ones left out",
}


def label(arguments: argparse.Namespace) -> None:
    """Label the pictures as `arguments` say, and say what was found.

    Raises:
        SPYv4Error: for arguments, pictures or weights that are not right.
        OSError: if something cannot be written.
    """
    output: Path = arguments.output
    if arguments.difficult_score > arguments.min_score:
        raise ArgumentError(
            f"--difficult-score must be at most --min-score, {arguments.min_score:g}, not "
            f"{arguments.difficult_score:g}"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ArgumentError(f"--output {output} holds something already; name a new folder")
    if arguments.image_size is not None:
        check_image_size(tuple(arguments.image_size))
    find = _find_by_teacher if arguments.teacher is not None else _find_by_weights
    paths = find_pictures(arguments.pictures)
    images = check_pictures(paths, skip_bad=arguments.skip_bad)
    class_names, predictions = find(arguments, images)
    pictures = labelled(images, predictions, class_names, arguments.min_score)
    file = write_labelled(pictures, output, class_names, arguments.format, copy=arguments.copy)
    sys.stdout.write(_summary(pictures, arguments.format, file))


def _find_by_weights(
    arguments: argparse.Namespace, images: Sequence[AnnotatedImage]
) -> tuple[tuple[str, ...], Predictions]:
    """Class names, and what a detector of this project finds."""
    size = tuple(arguments.image_size) if arguments.image_size else None
    detector = Detector.load(
        arguments.weights, device=arguments.device, precision="float32", image_size=size
    )
    names = detector.config.class_names
    wanted = _wanted(arguments.classes, names, names)
    reads = arguments.reads or detector.config.reads
    options = ReadOptions(
        score_threshold=arguments.difficult_score, iou_threshold=arguments.iou_threshold
    )
    found = run_detector(detector, images, (reads,), options=options)[reads].predictions
    places = [wanted.index(name) if name in wanted else -1 for name in names]
    return wanted, _renumbered(found, places)


def _find_by_teacher(
    arguments: argparse.Namespace, images: Sequence[AnnotatedImage]
) -> tuple[tuple[str, ...], Predictions]:
    """Class names, and what a teacher finds."""
    if arguments.reads is not None:
        raise ArgumentError("--reads is of --weights; a --teacher looks once")
    wanted = _wanted(arguments.classes, VOC_CLASSES, COCO_CLASSES)
    teacher = Teacher(arguments.teacher, wanted)
    size = tuple(arguments.image_size) if arguments.image_size else teacher.own_size
    if size is None:
        raise ArgumentError(f"{arguments.teacher} has no size of its own; give --image-size")
    score, overlap = arguments.difficult_score, arguments.iou_threshold
    return wanted, run_teacher(teacher, size, images, wanted, score, overlap)


def _wanted(text: str | None, usual: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The classes that `--classes` asks for."""
    if text in (None, ALL_CLASSES):
        return tuple(usual if text is None else known)
    names = tuple(dict.fromkeys(str(text).split(",")))
    coco = known is COCO_CLASSES
    for name in names:
        if name not in known and not (coco and coco_index(name) is not None):
            raise ArgumentError(
                f"--classes has {name!r}, which the detector does not know; it knows: "
                f"{', '.join(known)}"
            )
    return names


def _renumbered(found: Predictions, places: Sequence[int]) -> Predictions:
    """With label i as `places[i]`, or left out where that is -1."""
    labels = np.array(places)[found.labels]
    kept = labels >= 0
    return Predictions(
        found.image_indices[kept], labels[kept], found.boxes_xyxy[kept], found.scores[kept]
    )


def _summary(pictures: Sequence[LabelledPicture], layout: str, file: Path) -> str:
    """What was written, and how to train on it."""
    labels = [label for picture in pictures for label in picture.labels]
    difficult = sum(label.difficult for label in labels)
    empty = sum(all(label.difficult for label in picture.labels) for picture in pictures)
    also = f" (or --extra-voc-root {file.parent})" if layout == "voc" else ""
    unsure = f", {difficult} {_DIFFICULT[layout]}"
    return (
        f"{len(pictures)} pictures, {empty} of them without an object; "
        f"{len(labels) - difficult} objects{unsure}\n"
        f"train on them: spyv4-train --data {file}{also}\n"
    )
