"""Batches of training pictures that depend on (seed, epoch, position) alone.

Whoever builds a batch, in whatever process and after whatever interruption, gets the same one;
so a run can be resumed in the middle of an epoch, with another number of workers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from spyv4.validation import require
from training.config import TrainingConfig
from training.data.batches import ROUNDING, Batch, Batches, LaidOut, LaidOutBatches, Place
from training.data.cache import PictureCache
from training.data.canvas import Canvas
from training.data.fingerprint import fingerprint
from training.data.objects import UNSURE, training_objects
from training.data.sizes import image_sizes
from training.data.voc import AnnotatedImage
from training.data.workers import in_workers
from training.distillation.teacher import Teacher
from training.errors import DatasetError


@dataclass(frozen=True)
class LoaderOptions:
    """What does not change the batches, but how they are made.

    Attributes:
        workers: processes that build batches; 0 builds them in this one.
        cache_side: larger pictures are kept with this longer side, in pixels.
        cache_gib: memory for decoded pictures in GiB.
        cache_folder: where the others are kept in a file; None to decode them each time.
        pinned: hand batches out in page-locked memory, from which a GPU copies on its own.
        device: where all pictures are kept, stretched to squares, and batches are drawn and shown
            to the teacher; None for memory of the processors, and for their work.
        canvas_side: of these squares, in pixels, unless batches are larger.
        part: (which, of how many) equal parts of every batch this loader makes, the first is 0.
    """

    workers: int = 0
    cache_side: int = 512
    cache_gib: float = 8.0
    cache_folder: Path | None = None
    pinned: bool = False
    device: torch.device | None = None
    canvas_side: int = 416
    part: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        require(self.workers >= 0, f"workers must not be negative, not {self.workers}")
        require(self.cache_side >= 1, f"cache_side must be at least 1, not {self.cache_side}")
        require(self.cache_gib >= 0, f"cache_gib must not be negative, not {self.cache_gib}")


def _require_objects(annotations: Sequence[NDArray[np.float32]]) -> None:
    if annotations and not any((objects[:, 4] != UNSURE).any() for objects in annotations):
        raise DatasetError(
            f"none of the {len(annotations)} training pictures shows an object to learn from; "
            "those marked as difficult are not learned"
        )


def repeat_factors(
    labels: Sequence[NDArray[np.int64]], classes: int, threshold: float
) -> NDArray[np.float64]:
    """How often each picture is shown an epoch (Gupta et al. 2019, LVIS, section 6).

    r(picture) = max over its classes c of max(1, sqrt(threshold / f(c))), where f(c) is the share
    of the pictures that show c. Pictures without objects get 1.

    Args:
        labels: class indices of every picture.
        classes: how many classes there are.
        threshold: share of the pictures below which a class is shown more often; 0 for never.
    """
    present = [np.unique(item) for item in labels]
    counts = np.bincount(np.concatenate(present), minlength=classes)
    share = np.maximum(counts, 1) / len(labels)
    of_class = np.maximum(1.0, np.sqrt(threshold / share))
    return np.array([of_class[item].max(initial=1.0) for item in present])


class TrainingLoader:
    """Makes the batches of every epoch.

    The pictures are decoded by `prepare`, or when the first batch is asked for, and kept in memory.

    Args:
        images: the pictures.
        config: classes, picture and batch size, seed, augmentation and how often rare classes are
            shown; what does not fill a batch is left out of an epoch.
        options: how the batches are made.
        augment: whether to vary the pictures; if not, they are stretched as in evaluation.
        teacher: YOLOX as an .onnx file, asked about every picture as it is trained on.

    Raises:
        CheckpointError: if the teacher is none.
        ConfigError: if a batch cannot be cut in equal parts.
        DatasetError: if the pictures do not fill one batch.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        config: TrainingConfig,
        options: LoaderOptions | None = None,
        *,
        augment: bool = True,
        teacher: Path | None = None,
    ) -> None:
        self.fingerprint = fingerprint(images)
        self._config = config
        self._options = options or LoaderOptions()
        names = config.model.class_names
        parts = self._options.part[1]
        require(
            config.batch_size % parts == 0,
            f"batch_size must be a multiple of {parts}, the number of processes, not "
            f"{config.batch_size}",
        )
        self.teacher = None
        device = self._options.device
        if teacher is not None:
            self.teacher = Teacher(teacher, names, device)
        annotations = [training_objects(image, names) for image in images]
        self._cache = PictureCache(
            [image.image_path for image in images],
            [image.size for image in images],
            self._options.cache_side,
            int(self._options.cache_gib * 2**30),
            self._options.cache_folder,
        )
        _require_objects(annotations)
        sure = [objects[objects[:, 4] != UNSURE] for objects in annotations]
        labels = [objects[:, 4].astype(np.int64) for objects in sure]
        repeats = (
            repeat_factors(labels, len(names), config.repeat_threshold) if labels else np.zeros(0)
        )
        # The rounding errors of sums must not cost a picture.
        self.steps_per_epoch = int(repeats.sum() + ROUNDING) // config.batch_size
        """Batches in every epoch."""
        if self.steps_per_epoch == 0:
            raise DatasetError(
                f"{len(images)} pictures do not fill one batch of {config.batch_size}; "
                f"use a smaller batch or more pictures"
            )
        self._canvas: Canvas | None = None
        kind = Batches if device is None else LaidOutBatches
        self._batches = kind(
            self._cache,
            annotations,
            repeats,
            config,
            self._options.part,
            augment=augment,
            teacher=teacher,
        )

    @property
    def decoded_bytes(self) -> int:
        """Memory that all pictures would take decoded, in bytes."""
        return self._cache.decoded_bytes

    def prepare(self) -> None:
        """Decode the pictures that memory is for; once, later calls do nothing.

        Raises:
            DatasetError: if a picture cannot be decoded.
        """
        device = self._options.device
        if device is None:
            self._cache.fill()
        elif self._canvas is None:
            sizes = image_sizes(
                self._config.model.image_size, self._config.augmentation.multi_scale
            )
            side = (max(self._options.canvas_side, *sizes[-1]),) * 2
            self._canvas = Canvas(self._cache.decoded(), len(self._cache), side, device)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Indices of the pictures in the order of `epoch`; `steps_per_epoch` batches at least."""
        return self._batches.order(epoch)

    def batches(self, epoch: int, first_step: int = 0, epochs: int = 1) -> Iterator[Batch]:
        """The batches from `first_step` of `epoch` on, exactly as whole epochs have them.

        Args:
            epoch: from 0.
            first_step: how many batches to leave out, 0..steps_per_epoch.
            epochs: how many epochs, the one at hand included; their workers are the same.

        Raises:
            ConfigError: if an argument is out of range.
            DatasetError: if a picture cannot be decoded.
            DataWorkerError: if a worker has died, when its next batch is asked for.
        """
        require(epoch >= 0, f"epoch must not be negative, not {epoch}")
        require(
            0 <= first_step <= self.steps_per_epoch,
            f"first_step must be in 0..{self.steps_per_epoch}, not {first_step}",
        )
        first = epoch * self.steps_per_epoch
        places = range(first + first_step, first + epochs * self.steps_per_epoch)
        return self._iterate([divmod(place, self.steps_per_epoch) for place in places])

    def _iterate(self, places: Sequence[Place]) -> Iterator[Batch]:
        """Decode once, then hand the places to the workers."""
        self.prepare()
        for batch in in_workers(
            self._batches, places, self._options.workers, pinned=self._options.pinned
        ):
            if isinstance(batch, DatasetError):
                raise batch
            yield self._drawn(batch) if isinstance(batch, LaidOut) else batch

    def _drawn(self, batch: LaidOut) -> Batch:
        """The batch, drawn on the device, and seen by the teacher there."""
        images = cast("Canvas", self._canvas).draw(batch.layout, batch.image_size)
        view = self.teacher(images) if self.teacher is not None else None
        return Batch(images, batch.targets, batch.unsure, view)
