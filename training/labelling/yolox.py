"""Boxes of a teacher: YOLOX as it was meant to be used."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from spyv4.heads.nms import suppress
from training.data import AnnotatedImage
from training.data.pictures import Picture, decode_rgb
from training.distillation.coco_classes import COCO_CLASSES, coco_index
from training.distillation.teacher import BEFORE_CLASSES, STRIDES, Teacher, grids
from training.evaluate.predictions import BoxRow, Predictions, predictions_of_rows

_FILL = 114
"""Grey of what a picture does not fill, as YOLOX was trained."""


def run_teacher(
    teacher: Teacher,
    image_size: tuple[int, int],
    images: Sequence[AnnotatedImage],
    class_names: Sequence[str],
    min_score: float,
    iou_threshold: float,
) -> Predictions:
    """What the teacher finds in the pictures.

    Args:
        teacher: the teacher.
        image_size: (height, width) of the images it looks at, multiples of 32.
        images: the pictures.
        class_names: those to look for; where another of COCO's is likelier there is no box.
        min_score: least score of a box, 0..1.
        iou_threshold: boxes of one class that overlap more are one object, 0..1.

    Raises:
        DatasetError: if a picture is missing or damaged; names the file.
    """
    label_of = np.full(len(COCO_CLASSES), -1)
    for label, name in enumerate(class_names):
        if (place := coco_index(name)) is not None:
            label_of[place] = label

    def look(job: tuple[int, AnnotatedImage]) -> list[BoxRow]:
        index, image = job
        fitted, scale = letterbox(decode_rgb(image.image_path, image.size), image_size)
        flat = teacher.raw(torch.from_numpy(fitted).permute(2, 0, 1)[None])[0]
        boxes, scores, places = decode_yolox(flat, image_size, min_score)
        labels = label_of[places]
        height, width = image.size
        boxes = np.clip(boxes / scale, 0, [width, height, width, height]).astype(np.float32)
        wanted = labels >= 0
        boxes, scores, labels = boxes[wanted], scores[wanted], labels[wanted]
        kept = suppress(boxes, scores, labels, iou_threshold)
        return [(index, int(labels[k]), boxes[k].tolist(), float(scores[k])) for k in kept]

    rows: list[BoxRow] = []
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        jobs = pool.map(look, enumerate(images))
        for found in tqdm(jobs, total=len(images), desc="detecting", unit="image", delay=2):
            rows += found
    return predictions_of_rows(rows)


def letterbox(picture: Picture, size: tuple[int, int]) -> tuple[Picture, float]:
    """A picture scaled to fit, in the upper left corner, and the scale.

    Args:
        picture: uint8 [H, W, 3].
        size: (height, width) to fill up with grey.
    """
    height, width = picture.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    fitted = max(1, int(width * scale)), max(1, int(height * scale))
    canvas = np.full((*size, 3), _FILL, np.uint8)
    canvas[: fitted[1], : fitted[0]] = cv2.resize(picture, fitted, interpolation=cv2.INTER_LINEAR)
    return canvas, scale


def decode_yolox(
    flat: NDArray[np.float32], image_size: tuple[int, int], min_score: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes of raw outputs (Ge et al. 2021, YOLOX).

    With stride s and cell (i, j): cx = s (t_x + i), cy = s (t_y + j), w = s e^t_w, h = s e^t_h. A
    place shows the class that is likeliest there; its score is objectness times probability.

    Args:
        flat: t_x, t_y, t_w, t_h, objectness, classes of every place, row by row, fine to coarse.
        image_size: (height, width) of the network's image.
        min_score: least score, 0..1.

    Returns:
        boxes_xyxy [N, 4] in pixels of the network's image, scores [N], class indices [N].
    """
    classes = flat[:, BEFORE_CLASSES:]
    best = classes.argmax(1)
    scores = flat[:, 4] * classes[np.arange(len(flat)), best]
    kept = np.flatnonzero(scores >= min_score)
    cells, strides = _places(image_size)
    raw, stride = flat[kept, :4], strides[kept, None]
    centre, half = (raw[:, :2] + cells[kept]) * stride, np.exp(raw[:, 2:]) * stride / 2
    return np.hstack((centre - half, centre + half)), scores[kept], best[kept]


def _places(image_size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(column, row) [N, 2] and stride [N] of every place."""
    cells, strides = [], []
    for stride, (height, width) in zip(STRIDES, grids(image_size), strict=True):
        rows, columns = np.mgrid[:height, :width]
        cells.append(np.stack((columns.ravel(), rows.ravel()), 1).astype(np.float32))
        strides.append(np.full(rows.size, stride, np.float32))
    return np.concatenate(cells), np.concatenate(strides)
