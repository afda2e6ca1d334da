"""All figures of one set of detections."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spyv4.energy import Comparison
from training.evaluate.coco import coco_metrics
from training.evaluate.ground_truth import GroundTruth
from training.evaluate.operating_point import OperatingPoint, best_f1
from training.evaluate.predictions import Predictions
from training.evaluate.voc_ap import average_precision, match_class


@dataclass(frozen=True)
class Scores:
    """How well one set of detections fits the ground truth, at IoU 0.5; figures are 0..1.

    A mean goes over the classes that have at least one box that is not difficult; the others have
    no average precision (None).

    Attributes:
        ap_per_class: all-point average precision by class (VOC devkit since 2010).
        ap_11pt_per_class: 11-point average precision by class (VOC devkit 2007).
        coco: COCO's metrics, see `coco_metrics`; empty unless asked for.
        detections: how many detections there are.
        operating_point: see `best_f1`.
        firing_rate: see `ReadResult`; None for saved detections.
        ms_per_image: see `ReadResult`; None for saved detections.
        operations: what a picture takes, and what it takes the twin; None for saved detections.
        mean_reads: how many reads a picture got on average; None for saved detections.
    """

    ap_per_class: Mapping[str, float | None]
    ap_11pt_per_class: Mapping[str, float | None]
    coco: Mapping[str, float | None]
    detections: int
    operating_point: OperatingPoint | None
    firing_rate: float | None = None
    ms_per_image: float | None = None
    operations: Comparison | None = None
    mean_reads: float | None = None

    def mean_ap(self, class_names: Sequence[str] | None = None) -> float | None:
        """All-point mAP over all classes or over some."""
        chosen = self.ap_per_class if class_names is None else class_names
        return mean_of(self.ap_per_class[name] for name in chosen)

    def mean_ap_11pt(self) -> float | None:
        """11-point mAP over all classes."""
        return mean_of(self.ap_11pt_per_class.values())


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of the values that there are; None if there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def score_predictions(
    predictions: Predictions,
    truth: GroundTruth,
    *,
    coco: bool = True,
    firing_rate: float | None = None,
    ms_per_image: float | None = None,
    operations: Comparison | None = None,
    mean_reads: float | None = None,
) -> Scores:
    """Measure detections against the ground truth.

    Args:
        predictions: the detections.
        truth: the annotated boxes.
        coco: compute COCO's metrics too, which takes longer than all the rest.
        firing_rate: passed on to the result.
        ms_per_image: passed on to the result.
        operations: passed on to the result.
        mean_reads: passed on to the result.
    """
    all_point: dict[str, float | None] = {}
    eleven_point: dict[str, float | None] = {}
    for label, (name, boxes) in enumerate(truth.boxes_per_class.items()):
        hits = match_class(predictions, truth, label).true_positive
        all_point[name] = average_precision(hits, boxes, "all") if boxes else None
        eleven_point[name] = average_precision(hits, boxes, "11") if boxes else None
    return Scores(
        ap_per_class=all_point,
        ap_11pt_per_class=eleven_point,
        coco=coco_metrics(predictions, truth) if coco else {},
        detections=len(predictions),
        operating_point=best_f1(predictions, truth),
        firing_rate=firing_rate,
        ms_per_image=ms_per_image,
        operations=operations,
        mean_reads=mean_reads,
    )
