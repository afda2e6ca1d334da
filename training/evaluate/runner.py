"""Running a detector over a data set once, and collecting what it finds at several reads."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from spyv4.detector import Detector
from spyv4.options import ReadOptions
from spyv4.preprocess import Frame
from spyv4.rounds import EVERY_READ
from spyv4.threads import use_threads
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
        firing_rates: share of neurons that spiked by read and layer, [reads, 19], 0..1: the mean
            over the pictures.
        message_rates: likewise the share of ones in what each layer receives (see `Activity`).
        ms_per_image: wall time in milliseconds of preprocessing, the reads made so far (with
            their firing rates) and decoding once, divided by the pictures; as many batches as
            there are threads are looked at side by side.
    """

    predictions: Predictions
    firing_rates: NDArray[np.float64]
    message_rates: NDArray[np.float64]
    ms_per_image: float

    @property
    def firing_rate(self) -> float:
        """Mean over the layers and the reads made so far, 0..1."""
        return float(self.firing_rates.mean())


def run_detector(
    detector: Detector,
    images: Sequence[AnnotatedImage],
    reads: Sequence[int],
    *,
    options: ReadOptions = EVALUATION,
    batch_size: int = 8,
) -> dict[int, ReadResult]:
    """Look at every picture `max(reads)` times and keep what was found after each of `reads`.

    Pictures are taken as stored, without EXIF rotation, since their annotations are. Batches are
    looked at side by side, each by one thread.

    Args:
        detector: the detector.
        images: the pictures, at least one.
        reads: the numbers of reads to report, each at least 1.
        options: thresholds.
        batch_size: pictures that go through the network together, at least 1.

    Raises:
        DatasetError: if a picture is missing or damaged; names the file.
    """
    options = replace(options, reads=max(reads), activity=True)
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]

    def look(batch: Sequence[AnnotatedImage]) -> _Found:
        return _look(detector, batch, options, reads)

    looks: list[_Found] = []
    at_once = min(torch.get_num_threads(), len(batches))
    with (
        tqdm(total=len(images), desc="detecting", unit="image", delay=2) as progress,
        _one_thread_each(at_once) as pool,
    ):
        for found in pool.map(look, batches):
            looks.append(found)
            progress.update(len(found.rates))
    rates = np.concatenate([found.rates for found in looks]).mean(0)
    return {
        count: ReadResult(
            predictions_of_detections([d for found in looks for d in found.detections[count]]),
            firing_rates=rates[0, :count],
            message_rates=rates[1, :count],
            ms_per_image=sum(found.times_ms[count] for found in looks) / len(images) / at_once,
        )
        for count in reads
    }


@contextmanager
def _one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that compute alone: they need not wait for each other at every layer."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=use_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        use_threads(threads)


class _Found(NamedTuple):
    """What was found by number of reads; firing and message rates, [pictures, 2, reads, 19]."""

    detections: dict[int, list[Detections]]
    rates: NDArray[np.float64]
    times_ms: dict[int, float]


def _look(
    detector: Detector,
    batch: Sequence[AnnotatedImage],
    options: ReadOptions,
    reads: Sequence[int],
) -> _Found:
    """Decode a batch and look at it."""
    frames = _decode(batch)
    found: dict[int, list[Detections]] = {}
    rates, times_ms = [], {}
    for read in detector.read_batch(frames, options, at=reads, activity_at=EVERY_READ):
        if read.activity is not None:
            both = torch.stack((read.activity.firing_rates, read.activity.message_rates), 1)
            rates.append(both.cpu().numpy())
        if read.detections:
            found[read.number] = read.detections
            times_ms[read.number] = sum(read.detections[0].timings_ms.values())
    return _Found(found, np.stack(rates, axis=2).astype(np.float64), times_ms)


def _decode(batch: Sequence[AnnotatedImage]) -> list[Frame]:
    """The pictures as BGR uint8 [H, W, 3]."""
    return [np.ascontiguousarray(decode_rgb(image.image_path)[..., ::-1]) for image in batch]
