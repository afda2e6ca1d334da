"""Charts of a run: what its log holds, and how the boxes of its data are spread."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from training.data import AnnotatedImage, ObjectAnnotation
from training.data.voc import from_voc_pixels
from training.report.charts import COLOURS, Chart, chart, from_zero, line
from training.report.gather import Series, series

BATCHES = "batches"
MOST_BOXES = 15
AREAS = np.logspace(-3, 0, 25)
LOSS_TERMS = ("loss", "box", "objectness", "classes", "teacher")
CURVES = {
    "eval/map": ("mAP at IoU 0.5", "mAP, %"),
    "learning_rate": ("Learning rate", "learning rate"),
    "firing_rate": ("Firing rate", "share of neurons, %"),
    "images_per_s": ("Speed", "pictures per second"),
}
PENALTY = "penalty_ratio"

Boxes = Mapping[str, Sequence[Sequence[ObjectAnnotation]]]
"""By data set and picture."""


def training_curves(entries: Sequence[Mapping[str, Any]]) -> Iterator[Chart]:
    """What the log of a run holds, against the batches done."""
    terms = {term: series(entries, term) for term in LOSS_TERMS}
    terms = {term: curve for term, curve in terms.items() if any(curve.values)}
    if terms:
        yield chart("Loss and its terms", partial(_lines, terms), labels=(BATCHES, "loss"))
    for key, (title, unit) in CURVES.items():
        curve = series(entries, key, 100 if "%" in unit else 1)
        if curve.steps:
            yield chart(title, partial(_lines, {"": curve}), labels=(BATCHES, unit))
    penalty = series(entries, PENALTY)
    if penalty.steps and min(penalty.values) > 0:
        yield chart(
            "The regulariser's gradient against the task's",
            partial(_lines, {"": penalty}, log=True),
            labels=(BATCHES, "ratio of the norms"),
        )


def _lines(curves: Mapping[str, Series], ax: Axes, *, log: bool = False) -> None:
    for index, (label, curve) in enumerate(curves.items()):
        line(ax, *curve, index, label)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if log:
        ax.set_yscale("log")
    else:
        from_zero(ax)


def label_statistics(
    pictures: Mapping[str, Sequence[AnnotatedImage]], class_names: Sequence[str]
) -> Iterator[Chart]:
    """How the boxes of some data sets are spread; difficult ones are left out."""
    boxes = {
        name: [[item for item in image.objects if not item.difficult] for image in images]
        for name, images in pictures.items()
    }
    areas = {name: _areas(images, boxes[name]) for name, images in pictures.items()}
    yield chart(
        "Boxes of each class",
        partial(_classes, boxes, class_names),
        labels=("boxes", "class"),
        size=(4.2, max(2.9, 0.24 * len(class_names) + 0.7)),
    )
    yield chart(
        "Sizes of the boxes",
        partial(_sizes, areas),
        labels=("area of the box, % of the picture's", "share of the boxes, %"),
        note="The first bar holds all that are smaller than 0.1 % of the picture, too.",
    )
    yield chart(
        "Boxes in a picture",
        partial(_per_picture, boxes),
        labels=("boxes", "share of the pictures, %"),
        note=f"The last bar holds all pictures with {MOST_BOXES} boxes or more.",
    )


def _areas(
    images: Sequence[AnnotatedImage], boxes: Sequence[Sequence[ObjectAnnotation]]
) -> NDArray[np.float64]:
    """Areas of all boxes as shares of their pictures'."""
    corners = np.array([item.box_xyxy for items in boxes for item in items]).reshape(-1, 4)
    whole = [np.prod(image.size) for image, items in zip(images, boxes, strict=True) for _ in items]
    continuous = from_voc_pixels(corners)
    areas: NDArray[np.float64] = (continuous[:, 2:] - continuous[:, :2]).prod(1) / whole
    return areas


def _classes(boxes: Boxes, class_names: Sequence[str], ax: Axes) -> None:
    places, high = np.arange(len(class_names)), 0.8 / len(boxes)
    for index, (name, of_pictures) in enumerate(boxes.items()):
        found = [item.class_name for items in of_pictures for item in items]
        counts = [found.count(class_name) for class_name in class_names]
        where = places + (index - (len(boxes) - 1) / 2) * high
        ax.barh(where, counts, high, color=COLOURS[index], label=name)
    ax.set_yticks(places, class_names)
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")


def _sizes(areas: Mapping[str, NDArray[np.float64]], ax: Axes) -> None:
    for index, (name, values) in enumerate(areas.items()):
        _histogram(ax, np.clip(values, AREAS[0], AREAS[-1]), AREAS, index, name)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g}")


def _per_picture(boxes: Boxes, ax: Axes) -> None:
    for index, (name, of_pictures) in enumerate(boxes.items()):
        counts = np.minimum([len(items) for items in of_pictures], MOST_BOXES)
        _histogram(ax, counts, np.arange(MOST_BOXES + 2) - 0.5, index, name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _histogram(ax: Axes, values: ArrayLike, edges: ArrayLike, index: int, label: str) -> None:
    """Shares in percent, so that data sets of different sizes can be compared."""
    values = np.asarray(values)
    weights = np.full(len(values), 100 / max(len(values), 1))
    style: dict[str, Any] = {"color": COLOURS[index], "label": label, "linewidth": 1.5}
    ax.hist(values, np.asarray(edges).tolist(), weights=weights, histtype="step", **style)
