"""Anchors found in the boxes of a training set (`--anchors auto`)."""

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spyv4.config import Anchor, HeadConfig, ModelConfig
from spyv4.network.table import STRIDES
from training.data import UNSURE, AnnotatedImage, training_objects
from training.errors import DatasetError

logger = logging.getLogger(__name__)
_ROUNDS = 30
_TRIALS = 4

Sides = NDArray[np.float64]


def with_found_anchors(
    model: ModelConfig, images: Sequence[AnnotatedImage], seed: int
) -> ModelConfig:
    """The network with as many anchors as it had, but of the shapes that the boxes have.

    The larger ones go to the coarser heads, and anchors that no head has are dropped. How well both
    fit is logged.

    Args:
        model: the network, which may be for pictures of any size.
        images: the training set; what is difficult does not count.
        seed: of the search.

    Raises:
        DatasetError: if there are fewer boxes of different shapes than anchors.
    """
    sides = box_sides(images, model)
    before = np.array([anchor for head in model.heads for anchor in head.anchors])
    found = find_anchors(sides, len(before), np.random.default_rng(seed))
    heads = _shared_out(model.heads, [(width, height) for width, height in found.round(1).tolist()])
    after = np.array([anchor for head in heads for anchor in head.anchors])
    logger.info(
        "anchors at %d x %d: %s; mean best IoU with the %d training boxes %.1f %%, not %.1f %%",
        model.image_size[1],
        model.image_size[0],
        ", ".join(f"{head.layer} {_listed(head.anchors)}" for head in heads),
        len(sides),
        100 * shape_iou(sides, after).max(1).mean(),
        100 * shape_iou(sides, before).max(1).mean(),
    )
    return replace(model, heads=heads, unused_anchors=())


def box_sides(images: Sequence[AnnotatedImage], model: ModelConfig) -> Sides:
    """(width, height) of all boxes in pixels of the network's images, [N, 2]."""
    height, width = model.image_size
    rows = [training_objects(image, model.class_names) for image in images]
    boxes = np.concatenate([np.zeros((0, 4)), *(row[row[:, 4] != UNSURE, :4] for row in rows)])
    sides = (boxes[:, 2:] - boxes[:, :2]) * [width, height]
    extended: Sides = sides[sides.min(1) > 0]
    return extended


def find_anchors(sides: Sides, count: int, rng: np.random.Generator) -> Sides:
    """`count` shapes that the boxes come close to, by rising area.

    k-means with the distance 1 - IoU of shapes (Redmon and Farhadi 2017, YOLO9000, section 2) from
    the start of k-means++ (Arthur and Vassilvitskii 2007), a shape being the mean of those next to
    it. The mean is not what minimises this distance, so that the best round of all counts.

    Args:
        sides: (width, height) of boxes, > 0, [N, 2].
        count: how many shapes, at least 1.
        rng: of the starts.

    Returns:
        float64 [count, 2].

    Raises:
        DatasetError: if fewer than `count` boxes differ in shape.
    """
    different = len(np.unique(sides, axis=0))
    if different < count:
        raise DatasetError(
            f"--anchors auto needs boxes of at least {count} different shapes, as many as there "
            f"are anchors, not {different}; leave it out, or give more pictures"
        )
    best, best_fit = sides[:count], -1.0
    for _ in range(_TRIALS):
        shapes = _spread_start(sides, count, rng)
        for _ in range(_ROUNDS):
            overlap = shape_iou(sides, shapes)
            if (fit := float(overlap.max(1).mean())) > best_fit:
                best, best_fit = shapes, fit
            nearest = overlap.argmax(1)
            members = [sides[nearest == index] for index in range(count)]
            moved = [m.mean(0) if len(m) else s for m, s in zip(members, shapes, strict=True)]
            if np.array_equal(moved, shapes):
                break
            shapes = np.array(moved)
    return best[np.argsort(best.prod(1))]


def _spread_start(sides: Sides, count: int, rng: np.random.Generator) -> Sides:
    """Boxes drawn one by one, each with a chance that grows with the distance from those before."""
    chosen = [int(rng.integers(len(sides)))]
    while len(chosen) < count:
        distance = 1 - shape_iou(sides, sides[chosen]).max(1)
        distance[distance < 1e-9] = 0  # rounding must not have one drawn twice
        chosen.append(int(rng.choice(len(sides), p=distance / distance.sum())))
    return sides[chosen]


def shape_iou(sides: Sides, anchors: Sides) -> NDArray[np.float64]:
    """IoU [N, A] of boxes of these (width, height), all centred at one point."""
    both = np.minimum(sides[:, None], anchors).prod(-1)
    iou: NDArray[np.float64] = both / (sides.prod(-1)[:, None] + anchors.prod(-1) - both)
    return iou


def _shared_out(heads: Sequence[HeadConfig], anchors: Sequence[Anchor]) -> tuple[HeadConfig, ...]:
    """The heads with `anchors`, which rise, so that finer heads have the smaller ones."""
    left, by_layer = list(anchors), {}
    for head in sorted(heads, key=lambda head: STRIDES[head.layer]):
        size = len(head.anchors)
        by_layer[head.layer], left = tuple(left[:size]), left[size:]
    return tuple(replace(head, anchors=by_layer[head.layer]) for head in heads)


def _listed(anchors: Sequence[Anchor]) -> str:
    return " ".join(f"{width:g}x{height:g}" for width, height in anchors)
