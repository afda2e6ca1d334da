"""What a run would be and cost, found out by doing a few batches of it."""

import resource
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from statistics import median

import torch

from training import processes
from training.data import AnnotatedImage, Batch
from training.loop import Trainer

BATCHES = 4
"""The first one, which compiles, is not counted."""


def describe_run(trainer: Trainer, pictures: Mapping[str, Sequence[AnnotatedImage]]) -> str:
    """Data, memory and time of a run, for people; the trainer is of no use afterwards.

    Args:
        trainer: of the run; its loader keeps no pictures.
        pictures: annotated ones by the name of their data set.
    """
    state, loader = trainer.state, trainer.loader
    state.train_mode()
    seconds = []
    for batch in islice(loader.batches(0), BATCHES):
        seconds.append(_seconds(trainer, batch))
        state.advance()
    batch_s = median(seconds[1:] or seconds)
    epoch_s = batch_s * state.steps_per_epoch
    parameters = sum(parameter.numel() for parameter in state.model.parameters())
    config = state.config
    lines = [
        *(_data(name, images, config.model.class_names) for name, images in pictures.items()),
        f"network: {config.model.name}, {parameters:,} parameters, {config.precision}",
        (
            f"memory: {_peak_gib():.1f} GiB for a process at {config.batch_size} pictures a batch, "
            f"and {loader.decoded_bytes / 2**30:.1f} GiB for all pictures decoded (--cache)"
        ),
        (
            f"time: {batch_s:.2f} s a batch, {config.batch_size / batch_s:.0f} images/s; "
            f"{state.steps_per_epoch:,} batches an epoch, {_duration(epoch_s)}; "
            f"{config.epochs} epochs, {_duration(config.epochs * epoch_s)}, without evaluation"
        ),
    ]
    return "\n".join(lines)


def _seconds(trainer: Trainer, batch: Batch) -> float:
    """That one batch takes, mean over processes."""
    started = time.perf_counter()
    trainer.train_batch(batch)
    if trainer.read.device.type == "cuda":
        torch.cuda.synchronize(trainer.read.device)
    return float(processes.mean(torch.tensor(time.perf_counter() - started)))


def _data(name: str, images: Sequence[AnnotatedImage], class_names: Sequence[str]) -> str:
    """One line a class."""
    boxes = Counter(o.class_name for image in images for o in image.objects if not o.difficult)
    shown = Counter(
        c for image in images for c in {o.class_name for o in image.objects if not o.difficult}
    )
    difficult = sum(o.difficult for image in images for o in image.objects)
    width = max(map(len, class_names))
    rows = [f"  {c:{width}}  {shown[c]:8,} pictures  {boxes[c]:8,} boxes" for c in class_names]
    head = f"{name}: {len(images):,} pictures, {boxes.total():,} boxes, {difficult:,} difficult"
    return "\n".join([head, *rows])


def _peak_gib() -> float:
    """Largest memory of this process so far: the GPU's where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _duration(seconds: float) -> str:
    """For people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
