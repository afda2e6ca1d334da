"""Running a detector over a data set once, and collecting what it finds at several reads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from spyv4.detector import Detector
from spyv4.options import ReadOptions
from spyv4.preprocess import Frame
from spyv4.reading import EVERY_READ
from spyv4.types import Detections
from training.data.pictures import decode_rgb
from training.data.voc import AnnotatedImage
from training.evaluate.predictions import Predictions, predictions_of_detections

EVALUATION = ReadOptions(score_threshold=0.001, iou_threshold=0.5, max_detections=1000)
"""Average precision counts the uncertain boxes too, so that these are far more than are shown."""


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
    options: ReadOptions = EVALUATION,
    batch_size: int = 8,
) -> dict[int, ReadResult]:
    """Look at every picture `max(reads)` times and keep what was found after each of `reads`.

    Pictures are taken as stored, without EXIF rotation, since their annotations are. They are
    decoded while the network is busy with those before them.

    Args:
        detector: the detector.
        images: the pictures, at least one.
        reads: the numbers of reads to report, each at least 1.
        options: thresholds.
        batch_size: pictures that go through the network together, at least 1.

    Raises:
        DatasetError: if a picture is missing or damaged; names the file.
    """
    most = max(reads)
    options = replace(options, reads=most, activity=True)
    found: dict[int, list[Detections]] = {count: [] for count in reads}
    rates, times_ms = np.zeros(most), dict.fromkeys(reads, 0.0)
    with (
        tqdm(total=len(images), desc="detecting", unit="image", delay=2) as progress,
        ThreadPoolExecutor(1) as ahead,
    ):
        batches = [
            images[start : start + batch_size] for start in range(0, len(images), batch_size)
        ]
        waiting = ahead.submit(_decode, batches[0])
        for index, batch in enumerate(batches):
            frames = waiting.result()
            if index + 1 < len(batches):
                waiting = ahead.submit(_decode, batches[index + 1])
            for read in detector.read_batch(frames, options, at=reads, activity_at=EVERY_READ):
                if read.activity is not None:
                    rates[read.number - 1] += read.activity.firing_rates.mean(1).sum().item()
                if read.detections:
                    found[read.number] += read.detections
                    times_ms[read.number] += sum(read.detections[0].timings_ms.values())
            progress.update(len(batch))
    return {
        count: ReadResult(
            predictions_of_detections(found[count]),
            float(rates[:count].mean()) / len(images),
            times_ms[count] / len(images),
        )
        for count in reads
    }


def _decode(batch: Sequence[AnnotatedImage]) -> list[Frame]:
    """The pictures as BGR uint8 [H, W, 3]."""
    return [np.ascontiguousarray(decode_rgb(image.image_path)[..., ::-1]) for image in batch]
