"""Running a detector over a data set once, and collecting what it finds at several reads."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from spyv4.detector import Detector
from spyv4.options import ReadOptions
from spyv4.preprocess import Frame
from spyv4.reading import Look, advance, see
from spyv4.threads import use_threads
from spyv4.types import Detections
from training.choices import EVALUATION_DETECTIONS, EVALUATION_IOU, EVALUATION_SCORE
from training.data.pictures import decode_rgb
from training.data.voc import AnnotatedImage
from training.evaluate.predictions import Predictions, predictions_of_detections
from training.evaluate.stopping import Stopping

EVALUATION = ReadOptions(
    score_threshold=EVALUATION_SCORE,
    iou_threshold=EVALUATION_IOU,
    max_detections=EVALUATION_DETECTIONS,
)


@dataclass(frozen=True)
class ReadResult:
    """What the detector found in a data set with some number of reads, or with `auto`.

    Attributes:
        predictions: the detections.
        firing_rates: share of neurons that spiked by read and layer, [reads, 19], 0..1: the mean
            over the pictures; at a read that a picture did not get none did.
        message_rates: likewise the share of ones in what each layer receives (see `Activity`).
        ms_per_image: wall time in milliseconds of preprocessing, the reads made so far (with
            their firing rates) and decoding once, divided by the pictures; as many batches as
            there are threads are looked at side by side. With `auto` a read counts for those
            pictures alone that get it, and their boxes are decoded after each, too.
        mean_reads: how many reads a picture got on average.
    """

    predictions: Predictions
    firing_rates: NDArray[np.float64]
    message_rates: NDArray[np.float64]
    ms_per_image: float
    mean_reads: float

    @property
    def firing_rate(self) -> float:
        """Mean over the layers and the reads made so far, 0..1."""
        return float(self.firing_rates.mean(1).sum() / self.mean_reads)


def run_detector(
    detector: Detector,
    images: Sequence[AnnotatedImage],
    reads: Sequence[int],
    *,
    auto: Mapping[str, ReadOptions] = MappingProxyType({}),
    options: ReadOptions = EVALUATION,
    batch_size: int = 8,
) -> dict[int | str, ReadResult]:
    """Look at every picture as often as any of `reads` asks and keep what each of them found.

    Pictures are taken as stored, without EXIF rotation, since their annotations are. Batches are
    looked at side by side, each by one thread.

    Args:
        detector: the detector.
        images: the pictures, at least one.
        reads: the numbers of reads to report, each at least 1.
        auto: rules by which a picture stops by itself, by name; the boxes that must agree are those
            by the thresholds of the rule, and those that are kept by `options`.
        options: thresholds.
        batch_size: pictures that go through the network together, at least 1.

    Raises:
        DatasetError: if a picture is missing or damaged; names the file.
    """
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]

    def look(batch: Sequence[AnnotatedImage]) -> _Found:
        return _look(detector, batch, options, reads, auto)

    looks: list[_Found] = []
    at_once = min(torch.get_num_threads(), len(batches))
    with (
        tqdm(total=len(images), desc="detecting", unit="image", delay=2) as progress,
        _one_thread_each(at_once) as pool,
    ):
        for found in pool.map(look, batches):
            looks.append(found)
            progress.update(len(found.rates))
    keys: list[int | str] = [*reads, *auto]
    return {key: _result(key, looks, at_once) for key in keys}


def _result(key: int | str, looks: Sequence["_Found"], at_once: int) -> ReadResult:
    """What all batches have found with a number of reads, or by a rule."""
    kept = [found.kept[key] for found in looks]
    taken = np.concatenate([each.taken for each in kept])
    rates = np.concatenate([found.rates for found in looks])[:, :, : taken.max()]
    made = np.arange(rates.shape[2]) < taken[:, None]
    firing, messages = (rates * made[:, None, :, None]).mean(0)
    return ReadResult(
        predictions_of_detections([item for each in kept for item in each.detections]),
        firing_rates=firing,
        message_rates=messages,
        ms_per_image=sum(each.took_ms for each in kept) / len(taken) / at_once,
        mean_reads=float(taken.mean()),
    )


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


@dataclass(frozen=True)
class _Kept:
    """What a batch has with some number of reads: boxes, reads of every picture, and the time."""

    detections: list[Detections]
    taken: NDArray[np.int64]
    took_ms: float


@dataclass(frozen=True)
class _Found:
    """What was found by number of reads or rule; firing and message rates, [pictures, 2, all, 19].

    Attributes:
        rates: at all reads that were made.
        kept: by number of reads and by name of the rule.
    """

    rates: NDArray[np.float64]
    kept: dict[int | str, _Kept] = field(default_factory=dict)


def _look(
    detector: Detector,
    batch: Sequence[AnnotatedImage],
    options: ReadOptions,
    reads: Sequence[int],
    auto: Mapping[str, ReadOptions],
) -> _Found:
    """Decode a batch and look at it."""
    look = Look(see(_decode(batch), detector.image_size), options, detector.config)
    stopping = {
        name: Stopping(rule.resolved(detector.config), len(batch)) for name, rule in auto.items()
    }
    kept: dict[int | str, _Kept] = {}
    rates = []
    for number in range(1, max([*reads, *(rule.max_reads for rule in auto.values())]) + 1):
        (result,) = advance(detector.runtime, [look], activity=True)
        if result.activity is not None:
            both = torch.stack((result.activity.firing_rates, result.activity.message_rates), 1)
            rates.append(both.cpu().numpy())
        if number in reads:
            found = look.detections()
            taken = np.full(len(batch), number)
            kept[number] = _Kept(found, taken, sum(found[0].timings_ms.values()))
        for rule in stopping.values():
            rule.see(look)
    for name, rule in stopping.items():
        kept[name] = _Kept(rule.detections, np.array(rule.taken), rule.took_ms)
    return _Found(np.stack(rates, axis=2).astype(np.float64), kept)


def _decode(batch: Sequence[AnnotatedImage]) -> list[Frame]:
    """The pictures as BGR uint8 [H, W, 3]."""
    return [np.ascontiguousarray(decode_rgb(image.image_path)[..., ::-1]) for image in batch]
