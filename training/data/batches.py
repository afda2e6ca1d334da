"""Batches of training pictures, each of which depends on (seed, epoch, step) alone."""

import os
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from training.config import AugmentationConfig, TrainingConfig
from training.data.cache import PictureCache
from training.data.cut import Rows, cut
from training.data.layout import Layout, Layouts
from training.data.objects import UNSURE
from training.data.pictures import Picture, Sample
from training.data.sizes import Size, size_of_batch
from training.distillation.teacher import Teacher, TeacherView
from training.errors import DatasetError

if TYPE_CHECKING:
    from training.data.augment import Augmenter

Place = tuple[int, int]
"""(epoch, step) of a batch, both from 0."""
_ORDER, _SAMPLE = 0, 1
ROUNDING = 1e-9
"""The rounding errors of sums must not cost a picture."""
# The plain stretch of evaluation.
_PLAIN = AugmentationConfig(
    flip_probability=0,
    scale=(1.0, 1.0),
    aspect=0,
    mosaic_probability=0,
    colour_probability=0,
    min_visible=0,
    min_side_px=ROUNDING,
)


class Batch(NamedTuple):
    """Pictures for one step.

    Attributes:
        images: uint8 [batch, 3, height, width] RGB, channels last in memory; the size may differ
            from batch to batch (`multi_scale`).
        targets: float32 [n, 6], (index in the batch, class index, cx, cy, width, height) in
            continuous pixels of the images, from 0.
        unsure: float32 [m, 5], (index in the batch, cx, cy, width, height) of what is neither to be
            learned nor to be taken for background.
        teacher: what the teacher says of the images, where there is one.
    """

    images: torch.Tensor
    targets: torch.Tensor
    unsure: torch.Tensor = torch.zeros(0, 5)
    teacher: TeacherView | None = None


class Batches(Dataset[Batch | DatasetError]):
    """(epoch, step) -> batch."""

    def __init__(
        self,
        cache: PictureCache,
        annotations: Sequence[NDArray[np.float32]],
        repeats: NDArray[np.float64],
        config: TrainingConfig,
        part: tuple[int, int],
        *,
        augment: bool,
        teacher: Path | None,
    ) -> None:
        self._cache = cache
        self._annotations = annotations
        self._repeats = repeats
        self._config = config
        which, parts = part
        size = config.batch_size // parts
        self._part = range(which * size, (which + 1) * size)
        self._teacher = teacher
        self._augmentation = config.augmentation if augment else _PLAIN

    @lru_cache(maxsize=2)  # noqa: B019 - one of these a run
    def order(self, epoch: int) -> NDArray[np.int64]:
        """Indices of the pictures, at least as many as the epoch has samples.

        The repeat factors are rounded up or down at random with the right mean, by systematic
        sampling, which keeps the length the same every epoch.
        """
        rng = np.random.default_rng((self._config.seed, epoch, _ORDER))
        shuffled = rng.permutation(len(self._repeats))
        ends = np.floor(np.cumsum(self._repeats[shuffled]) + rng.random() + ROUNDING)
        counts = np.diff(ends, prepend=0).astype(np.int64)
        return rng.permutation(np.repeat(shuffled, counts))

    @cache  # noqa: B019 - one of these a run
    def _augmenter(self, image_size: Size) -> "Augmenter":
        """Made where it is used: albumentations takes long to load."""
        from training.data import augment

        return augment.Augmenter(self._augmentation, image_size)

    def __getitem__(self, place: Place) -> Batch | DatasetError:
        """The batch of (epoch, step); an error is a value here, since workers garble exceptions."""
        epoch, step = place
        size, image_size = len(self._part), self.image_size(epoch, step)
        augmenter = self._augmenter(image_size)
        images = np.empty((size, *image_size, 3), np.uint8)
        drawn = []
        try:
            first = step * self._config.batch_size
            for index, offset in enumerate(self._part):
                images[index], rows = self._sample(augmenter, epoch, first + offset)
                drawn.append(rows)
        except DatasetError as error:
            return error
        samples = np.repeat(np.arange(size), [len(rows) for rows in drawn])
        learned, unsure = self._boxes(np.column_stack((np.concatenate(drawn), samples)))
        pictures = torch.from_numpy(images).permute(0, 3, 1, 2)
        view = None
        if self._teacher is not None:
            names = self._config.model.class_names
            view = _teacher_of_process(os.getpid(), self._teacher, names)(pictures)
        return Batch(pictures, learned, unsure, view)

    def _boxes(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets, and what is unsure, as in `Batch`, of rows with the index in the batch."""
        rows = cut(rows, self._augmentation)
        low, high = rows[:, :2], rows[:, 2:4]
        targets = np.hstack(
            (rows[:, 9:], rows[:, 4:5], (low + high) / 2, high - low), dtype=np.float32
        )
        learned = targets[:, 1] != UNSURE
        unsure = np.delete(targets[~learned], 1, axis=1)
        return torch.from_numpy(targets[learned]), torch.from_numpy(unsure)

    def image_size(self, epoch: int, step: int) -> Size:
        """(height, width) of a batch."""
        nominal, share = self._config.model.image_size, self._augmentation.multi_scale
        return size_of_batch(nominal, share, self._config.seed, epoch, step)

    def _sample(
        self, augmenter: "Augmenter", epoch: int, position: int
    ) -> tuple[Picture, NDArray[np.float64]]:
        """The sample at `position` of `epoch`, its boxes not cut yet."""
        rng = np.random.default_rng((self._config.seed, epoch, _SAMPLE, position))
        order = self.order(epoch)
        if rng.random() >= self._augmentation.mosaic_share(epoch):
            return augmenter.single(self._load(order[position]), rng)
        others = rng.integers(len(order), size=3)
        return augmenter.mosaic([self._load(order[i]) for i in (position, *others)], rng)

    def _load(self, index: int) -> Sample:
        """Picture `index` as it is kept."""
        return self._cache[index], self._annotations[index]


class LaidOut(NamedTuple):
    """A batch that is still to be drawn.

    Attributes:
        layout: how.
        image_size: (height, width) in pixels.
        targets: as in `Batch`.
        unsure: as in `Batch`.
    """

    layout: Layout
    image_size: Size
    targets: torch.Tensor
    unsure: torch.Tensor


class LaidOutBatches(Batches):
    """(epoch, step) -> batch, to be drawn elsewhere; arguments as those of `Batches`."""

    @cache  # noqa: B019 - one of these a run
    def _layouts(self) -> Layouts:
        return Layouts(self._augmentation, self._annotations)

    def __getitem__(self, place: Place) -> LaidOut:  # type: ignore[override]  # what is drawn
        """The batch of (epoch, step)."""
        epoch, step = place
        rng = np.random.default_rng((self._config.seed, epoch, _SAMPLE, step))
        order, batch = self.order(epoch), self._config.batch_size
        which = slice(self._part.start, self._part.stop)
        firsts = order[step * batch : (step + 1) * batch]
        others = order[rng.integers(len(order), size=(batch, 3))]
        size = self.image_size(epoch, step)
        share = self._augmentation.mosaic_share(epoch)
        layout, rows = self._layouts().draw(firsts, others, size, share, rng)
        rows[:, 9] -= which.start
        ours = (rows[:, 9] >= 0) & (rows[:, 9] < len(self._part))
        mine = Layout(*(value[which] for value in layout))
        return LaidOut(mine, size, *self._boxes(rows[ours]))


@lru_cache(maxsize=1)
def _teacher_of_process(_pid: int, path: Path, class_names: tuple[str, ...]) -> Teacher:
    """A teacher of this process's own: ONNX Runtime's threads do not survive a fork."""
    return Teacher(path, class_names)
