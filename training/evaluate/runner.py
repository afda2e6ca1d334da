"""Running a detector over a data set once, and collecting what it finds at several reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from spyv4.detector import Detector
from spyv4.types import Detections
from training.data.pictures import decode_rgb
from training.data.voc import AnnotatedImage
from training.evaluate.predictions import Predictions, predictions_of_detections


@dataclass(frozen=True)
class ReadResult:
    """What the detector found in a data set with some number of reads.

    Attributes:
        predictions: the detections.
        firing_rate: share of neurons that spiked, 0..1: the mean over pictures, layers and the
            reads made so far.
        ms_per_image: wall time in milliseconds of preprocessing, the reads made so far (with
            their firing rates) and decoding once, divided by the pictures.
    """

    predictions: Predictions
    firing_rate: float
    ms_per_image: float


def run_detector(
    detector: Detector,
    images: Sequence[AnnotatedImage],
    reads: Sequence[int],
    *,
    score_threshold: float = 0.001,
    iou_threshold: float = 0.5,
    max_detections: int = 1000,
    batch_size: int = 8,
) -> dict[int, ReadResult]:
    """Look at every picture `max(reads)` times and keep what was found after each of `reads`.

    Pictures are taken as stored, without EXIF rotation, since their annotations are.

    Args:
        detector: the detector.
        images: the pictures, at least one.
        reads: the numbers of reads to report, each at least 1.
        score_threshold: least score of a detection, 0..1.
        iou_threshold: boxes of a class that overlap more are one object, 0..1.
        max_detections: most boxes a picture, at least 1. Average precision counts the uncertain
            ones too, so that this is far more than a person would look at.
        batch_size: pictures that go through the network together, at least 1.

    Raises:
        DatasetError: if a picture is missing or damaged; names the file.
    """
    most = max(reads)
    found: list[list[Detections]] = [[] for _ in range(most)]
    rates, times_ms = np.zeros(most), np.zeros(most)
    with tqdm(total=len(images), desc="detecting", unit="image", delay=2) as progress:
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            frames = [np.ascontiguousarray(decode_rgb(i.image_path)[..., ::-1]) for i in batch]
            looking = detector.reads_batch(
                frames,
                most,
                score_threshold=score_threshold,
                iou_threshold=iou_threshold,
                max_detections=max_detections,
                activity=True,
            )
            for index, detections in enumerate(looking):
                rates[index] += sum(np.mean(list(i.firing_rates.values())) for i in detections)
                times_ms[index] += sum(detections[0].timings_ms.values())  # of the whole batch
                if index + 1 in reads:
                    found[index] += detections
            progress.update(len(batch))
    return {
        count: ReadResult(
            predictions_of_detections(found[count - 1]),
            float(rates[:count].mean()) / len(images),
            float(times_ms[count - 1]) / len(images),
        )
        for count in reads
    }
