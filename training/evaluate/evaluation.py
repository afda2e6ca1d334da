"""A detector, or saved detections, measured on a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from spyv4.detector import Detector
from spyv4.energy import compare
from spyv4.options import ReadOptions
from training.data.voc import AnnotatedImage
from training.evaluate.ground_truth import GroundTruth, ground_truth_of
from training.evaluate.predictions import Predictions
from training.evaluate.runner import EVALUATION, ReadResult, run_detector
from training.evaluate.scores import Scores, score_predictions


@dataclass(frozen=True)
class Evaluation:
    """What was found, and how good it is, by number of reads.

    Attributes:
        images: the pictures.
        truth: their annotated boxes.
        predictions: by number of reads, or by what stands for it.
        scores: likewise.
        usual: the one of them whose details are shown.
        firing_rates: by read and layer up to the largest number of reads, [reads, 19]; None for
            saved detections, and where there are rules alone.
    """

    images: Sequence[AnnotatedImage]
    truth: GroundTruth
    predictions: Mapping[str, Predictions]
    scores: Mapping[str, Scores]
    usual: str
    firing_rates: NDArray[np.float64] | None = None


def evaluate_detector(
    detector: Detector,
    images: Sequence[AnnotatedImage],
    reads: Sequence[int],
    *,
    auto: Mapping[str, ReadOptions] = MappingProxyType({}),
    usual: int | None = None,
    options: ReadOptions = EVALUATION,
    batch_size: int = 8,
    coco: bool = False,
) -> Evaluation:
    """Run a detector and measure what it finds at every number of reads.

    Args:
        detector: the detector.
        images: the pictures, at least one.
        reads: the numbers of reads to report, each at least 1.
        auto: rules to report, too, by name; see `run_detector`.
        usual: the number whose details are shown; the largest where it is not among them, or else
            the first rule.
        options: thresholds.
        batch_size: pictures that go through the network together, at least 1.
        coco: compute COCO's metrics too.

    Raises:
        DatasetError: if there is no picture, or one is missing or damaged.
    """
    truth = ground_truth_of(images, detector.config.class_names)
    results = run_detector(
        detector, images, reads, auto=auto, options=options, batch_size=batch_size
    )
    scores = {
        str(count): _scores_of(detector, result, truth, coco=coco)
        for count, result in results.items()
    }
    found = {str(count): result.predictions for count, result in results.items()}
    if not reads:
        return Evaluation(images, truth, found, scores, next(iter(auto)))
    last = max(reads)
    shown = str(usual if usual in reads else last)
    return Evaluation(images, truth, found, scores, shown, results[last].firing_rates)


def _scores_of(detector: Detector, result: ReadResult, truth: GroundTruth, *, coco: bool) -> Scores:
    """What was found at one number of reads against the truth."""
    taken = compare(
        detector.config,
        detector.image_size,
        result.firing_rates,
        result.message_rates,
        mean_reads=result.mean_reads,
    )
    return score_predictions(
        result.predictions,
        truth,
        coco=coco,
        firing_rate=result.firing_rate,
        ms_per_image=result.ms_per_image,
        operations=taken,
        mean_reads=result.mean_reads,
    )
