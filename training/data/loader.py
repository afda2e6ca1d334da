"""Batches of training pictures that depend on (seed, epoch, position) alone.

Whoever builds a batch, in whatever process and after whatever interruption, gets the same one;
so a run can be resumed in the middle of an epoch, with another number of workers.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from spyv4.config import check_image_size
from spyv4.validation import require
from training.config import AugmentationConfig
from training.data.pictures import Picture, PictureCache, Sample
from training.data.voc import AnnotatedImage, from_voc_pixels
from training.data.workers import in_workers
from training.errors import DatasetError

_ORDER, _SAMPLE = 0, 1
_ROUNDING = 1e-9
# The plain stretch of evaluation.
_PLAIN = AugmentationConfig(
    flip_probability=0,
    scale=(1.0, 1.0),
    aspect=0,
    mosaic_probability=0,
    colour_probability=0,
    min_visible=0,
    min_side_px=_ROUNDING,
)


class Batch(NamedTuple):
    """Pictures for one step.

    Attributes:
        images: uint8 [batch, 3, height, width] RGB, channels last in memory.
        targets: float32 [n, 6], (index in the batch, class index, cx, cy, width, height) in
            continuous pixels of the images, from 0.
    """

    images: torch.Tensor
    targets: torch.Tensor


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
        class_names: the classes in the order of the network's outputs.
        image_size: (height, width) in pixels, multiples of 32.
        batch_size: pictures a batch, >= 1; what does not fill a batch is left out of an epoch.
        seed: of all randomness, >= 0.
        augmentation: how to vary the pictures; None stretches them as evaluation does.
        workers: processes that build batches; 0 builds them here.
        repeat_threshold: see `repeat_factors`.
        cache_side: larger pictures are kept with this longer side, in pixels.
        cache_gib: memory for decoded pictures in GiB; the others are decoded each time.

    Raises:
        ConfigError: if a setting is out of range.
        DatasetError: if the pictures do not fill one batch.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        class_names: Sequence[str],
        image_size: tuple[int, int],
        batch_size: int,
        seed: int = 0,
        augmentation: AugmentationConfig | None = None,
        workers: int = 0,
        repeat_threshold: float = 0.0,
        *,
        cache_side: int = 512,
        cache_gib: float = 8.0,
    ) -> None:
        check_image_size(image_size)
        require(batch_size >= 1, f"batch_size must be at least 1, not {batch_size}")
        require(seed >= 0, f"seed must not be negative, not {seed}")
        require(workers >= 0, f"workers must not be negative, not {workers}")
        require(
            0 <= repeat_threshold <= 1, f"repeat_threshold must be in 0..1, not {repeat_threshold}"
        )
        require(cache_side >= 1, f"cache_side must be at least 1, not {cache_side}")
        require(cache_gib >= 0, f"cache_gib must not be negative, not {cache_gib}")
        self._image_size = image_size
        self._batch_size = batch_size
        self._seed = seed
        self._augmentation = augmentation
        self._workers = workers
        self._annotations = [_training_objects(image, tuple(class_names)) for image in images]
        self._cache = PictureCache(
            [image.image_path for image in images],
            [image.size for image in images],
            cache_side,
            int(cache_gib * 2**30),
        )
        labels = [objects[:, 4].astype(np.int64) for objects in self._annotations]
        self._repeats = (
            repeat_factors(labels, len(class_names), repeat_threshold) if labels else np.zeros(0)
        )
        # The rounding errors of sums must not cost a picture.
        self._samples = int(self._repeats.sum() + _ROUNDING)
        if self._samples < batch_size:
            raise DatasetError(
                f"{len(images)} pictures do not fill one batch of {batch_size}; "
                f"use a smaller batch or more pictures"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Batches in every epoch."""
        return self._samples // self._batch_size

    def prepare(self) -> None:
        """Decode the pictures that memory is for; once, later calls do nothing.

        Raises:
            DatasetError: if a picture cannot be decoded.
        """
        self._cache.fill()

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of `epoch` from `first_step` on, exactly as a whole epoch has them.

        Args:
            epoch: from 0.
            first_step: how many batches to leave out, 0..steps_per_epoch.

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
        return self._iterate(epoch, first_step)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Indices of the pictures in the order of `epoch`; `steps_per_epoch` batches at least.

        The repeat factors are rounded up or down at random with the right mean, by systematic
        sampling, which keeps the length the same every epoch.
        """
        rng = np.random.default_rng((self._seed, epoch, _ORDER))
        shuffled = rng.permutation(len(self._repeats))
        ends = np.floor(np.cumsum(self._repeats[shuffled]) + rng.random() + _ROUNDING).astype(
            np.int64
        )
        counts = np.diff(ends, prepend=0)
        return rng.permutation(np.repeat(shuffled, counts))

    def _iterate(self, epoch: int, first_step: int) -> Iterator[Batch]:
        """Decode once, then hand the steps to the workers."""
        self.prepare()
        steps = _EpochSteps(
            self._cache,
            self._annotations,
            self.order(epoch),
            image_size=self._image_size,
            batch_size=self._batch_size,
            seed=self._seed,
            epoch=epoch,
            augmentation=self._augmentation or _PLAIN,
        )
        for batch in in_workers(steps, range(first_step, self.steps_per_epoch), self._workers):
            if isinstance(batch, DatasetError):
                raise batch
            yield batch


class _EpochSteps(Dataset[Batch | DatasetError]):
    """Step -> batch, for one epoch."""

    def __init__(
        self,
        cache: PictureCache,
        annotations: Sequence[NDArray[np.float32]],
        order: NDArray[np.int64],
        *,
        image_size: tuple[int, int],
        batch_size: int,
        seed: int,
        epoch: int,
        augmentation: AugmentationConfig,
    ) -> None:
        from training.data.augment import Augmenter

        self._cache = cache
        self._annotations = annotations
        self._order = order
        self._image_size = image_size
        self._batch_size = batch_size
        self._key = (seed, epoch, _SAMPLE)
        self._augmenter = Augmenter(augmentation, image_size)
        self._mosaic_share = augmentation.mosaic_share(epoch)

    def __getitem__(self, step: int) -> Batch | DatasetError:
        """The batch of `step`; an error is a value here, since workers garble exceptions."""
        images = np.empty((self._batch_size, *self._image_size, 3), np.uint8)
        drawn = []
        try:
            for index in range(self._batch_size):
                images[index], rows = self._sample(step * self._batch_size + index)
                drawn.append(rows)
        except DatasetError as error:
            return error
        samples = np.repeat(np.arange(self._batch_size), [len(rows) for rows in drawn])
        rows = self._augmenter.cut(np.column_stack((np.concatenate(drawn), samples)))
        low, high = rows[:, :2], rows[:, 2:4]
        targets = np.hstack(
            (rows[:, 9:], rows[:, 4:5], (low + high) / 2, high - low), dtype=np.float32
        )
        return Batch(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(targets))

    def _sample(self, position: int) -> tuple[Picture, NDArray[np.float64]]:
        """The sample at `position` of the epoch, its boxes not cut yet."""
        rng = np.random.default_rng((*self._key, position))
        if rng.random() >= self._mosaic_share:
            return self._augmenter.single(self._load(position), rng)
        others = rng.integers(len(self._order), size=3)
        return self._augmenter.mosaic([self._load(i) for i in (position, *others)], rng)

    def _load(self, position: int) -> Sample:
        """The picture at `position` of the epoch as it is kept."""
        index = self._order[position]
        return self._cache[index], self._annotations[index]


def _training_objects(image: AnnotatedImage, class_names: tuple[str, ...]) -> NDArray[np.float32]:
    """The objects to learn, as in `Sample`."""
    objects = [item for item in image.objects if not item.difficult]
    height, width = image.size
    rows = np.empty((len(objects), 5), np.float32)
    boxes = np.array([item.box_xyxy for item in objects], np.float64).reshape(-1, 4)
    rows[:, :4] = np.clip(from_voc_pixels(boxes) / [width, height, width, height], 0, 1)
    rows[:, 4] = [class_names.index(item.class_name) for item in objects]
    return rows
