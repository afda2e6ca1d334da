"""What an evaluation hands to the report: plain figures, boxes and paths."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spyv4.energy import Comparison

Verdict = Literal["right", "wrong", "ignored"]


class Judged(NamedTuple):
    """Detections that were right, or those that were not.

    Attributes:
        number: how many.
        mean_score: 0..1; None without any.
    """

    number: int
    mean_score: float | None


class ReadFindings(NamedTuple):
    """What was measured at one number of reads.

    Attributes:
        reads: their number, or what stands for it.
        mean_ap: mAP@0.5, 0..1; None if no class has a box.
        ms_per_image: wall time, milliseconds; None for saved detections.
        firing_rate: mean over layers and reads, 0..1; None for saved detections.
        operations: of a picture, and of the twin; None for saved detections.
        right: shown detections that are right.
        wrong: shown detections that are not.
        mean_reads: how many reads a picture got on average; None for saved detections.
    """

    reads: str
    mean_ap: float | None
    ms_per_image: float | None
    firing_rate: float | None
    operations: Comparison | None
    right: Judged
    wrong: Judged
    mean_reads: float | None = None


class ClassFindings(NamedTuple):
    """One class.

    Attributes:
        name: of the class.
        boxes: how many there are to find.
        average_precision: all-point, 0..1; None without boxes.
        recall: rising, [K], 0..1.
        precision: the curve whose area is the average precision, [K], 0..1.
    """

    name: str
    boxes: int
    average_precision: float | None
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


class Mark(NamedTuple):
    """A box to draw.

    Attributes:
        box_xyxy: pixels of the picture.
        text: its label.
        kind: what its colour shows: `right` was found, or finds; `wrong` was missed, or is wrong;
            `ignored` is difficult, or lies on such a box; a number is a class.
    """

    box_xyxy: tuple[float, ...]
    text: str
    kind: Verdict | int


class PictureFindings(NamedTuple):
    """One picture.

    Attributes:
        path: its file.
        quality: by which it was chosen, -1..1.
        truth: the annotated boxes.
        found: the detections that are shown.
    """

    path: Path
    quality: float
    truth: tuple[Mark, ...]
    found: tuple[Mark, ...]


class TwinFindings(NamedTuple):
    """What the evaluation of a non-spiking twin says.

    Attributes:
        mean_ap: mAP@0.5, 0..1.
        ms_per_image: milliseconds.
    """

    mean_ap: float | None
    ms_per_image: float | None


@dataclass(frozen=True)
class Findings:
    """An evaluation; all but `by_reads` is at one number of reads.

    Attributes:
        data: what was evaluated on, for people.
        images: how many pictures.
        reads: at which number of reads.
        score_threshold: from which score boxes are shown, that of the best F1.
        by_reads: by rising number of reads, `auto` last.
        classes: in the order of the network's outputs.
        confusion: boxes by true class (rows) and class found (columns); nothing is the last of
            either, [C + 1, C + 1].
        best: the pictures that went best, best first.
        worst: those that went worst, worst first.
        firing_rates: by read and layer, shallow to deep, [reads, 19]; None for saved detections.
        twin: where its evaluation was given.
    """

    data: str
    images: int
    reads: str
    score_threshold: float
    by_reads: tuple[ReadFindings, ...]
    classes: tuple[ClassFindings, ...]
    confusion: NDArray[np.int64]
    best: tuple[PictureFindings, ...]
    worst: tuple[PictureFindings, ...]
    firing_rates: NDArray[np.float64] | None = None
    twin: TwinFindings | None = None
