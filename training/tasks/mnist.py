"""Pictures in MNIST's files, and how they become sequences."""

import gzip
import hashlib
import math
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from training.errors import DatasetError
from training.tasks.data import Sequences, TaskData

DIGITS = tuple("0123456789")
CLOTHES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
SIDE = 28
TEST_EVERY = 5
PERMUTATION_SEED = 784
PERMUTATION_SHA256 = "74a7f52bd9778019692300b5b47117dc740ea364a26605d761b5c35f0f5b9a8d"
Encoding = Literal["pixels", "permuted", "poisson", "static"]
_UNSIGNED_BYTES = 0x08


class Pictures(NamedTuple):
    """Pictures and their classes.

    Attributes:
        images: [N, 28, 28], uint8.
        labels: [N], int64.
    """

    images: Tensor
    labels: Tensor


class PictureSequences(Sequences):
    """Pictures as sequences.

    `pixels` brings one pixel a step, row by row, in 0..1; `permuted` does in the order of
    `permutation`. `static` brings the same picture at every step as a current in 0..1, `poisson`
    the spikes of one Poisson source a pixel, with at most one spike a step: its probability is the
    pixel's value in 0..1.

    Args:
        pictures: what is encoded.
        encoding: how.
        frames: steps of `static` and `poisson`.
    """

    def __init__(self, pictures: Pictures, encoding: Encoding, frames: int = 0) -> None:
        self.labels, self.images = pictures.labels, pictures.images
        self.encoding = encoding
        one_by_one = encoding in ("pixels", "permuted")
        self.steps = SIDE * SIDE if one_by_one else frames
        self.shape = (1,) if one_by_one else (1, SIDE, SIDE)
        self._order = permutation() if encoding == "permuted" else None

    def read(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """See `Sequences`."""
        images = self.images[chosen].float() / 255
        if self.encoding in ("pixels", "permuted"):
            rows = images.flatten(1)
            if self._order is not None:
                rows = rows[:, self._order]
            return rows.t().unsqueeze(2).contiguous()
        repeated = images.unsqueeze(1).expand(self.steps, -1, -1, -1, -1)
        if self.encoding == "static":
            return repeated
        return torch.bernoulli(repeated, generator=generator)


def permutation() -> Tensor:
    """The order of the pixels of PS-MNIST, [784].

    Raises:
        DatasetError: if numpy draws another one from the seed than when the task was defined.
    """
    # The older generator, since numpy promises that its numbers stay what they are.
    order = np.random.RandomState(PERMUTATION_SEED).permutation(SIDE * SIDE)
    if hashlib.sha256(order.astype("<i8").tobytes()).hexdigest() != PERMUTATION_SHA256:
        raise DatasetError(
            f"numpy {np.__version__} draws another permutation from the seed {PERMUTATION_SEED} "
            "than that of ps-mnist; install another numpy, or results cannot be compared"
        )
    return torch.from_numpy(order)


def open_mnist(folder: Path, encoding: Encoding, frames: int, classes: tuple[str, ...]) -> TaskData:
    """The data of a task on MNIST, or on Fashion-MNIST, whose files have the same names.

    The standard split where all four files are there. Where only the 10,000 test pictures are,
    every fifth of them is for testing, and the others for training: their first half is easier
    than the second, which a cut in the middle would separate.

    Args:
        folder: has `t10k-images-idx3-ubyte` and so on, as they are or as `.gz`.
        encoding: see `PictureSequences`.
        frames: likewise.
        classes: names.

    Raises:
        DatasetError: if files are missing or damaged.
    """
    test = _read_pictures(folder, "t10k")
    if _found(folder, "train-images-idx3-ubyte") is not None:
        train = _read_pictures(folder, "train")
        split = f"standard: {len(train.labels)} training and {len(test.labels)} test pictures"
    else:
        train, test = _divided(test)
        split = (
            f"not standard: the training pictures are missing in {folder.name}, so every fifth of "
            f"the t10k pictures is tested on ({len(test.labels)}) and the others are learned from "
            f"({len(train.labels)})"
        )
    return TaskData(
        PictureSequences(train, encoding, frames),
        PictureSequences(test, encoding, frames),
        split,
        classes,
    )


def _divided(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Four of five, and every fifth."""
    chosen = torch.arange(len(pictures.labels)) % TEST_EVERY == TEST_EVERY - 1
    first, second = (
        Pictures(pictures.images[part], pictures.labels[part]) for part in (~chosen, chosen)
    )
    return first, second


def _read_pictures(folder: Path, name: str) -> Pictures:
    images = read_idx(_path(folder, f"{name}-images-idx3-ubyte"), 3)
    labels = read_idx(_path(folder, f"{name}-labels-idx1-ubyte"), 1)
    if images.shape[1:] != (SIDE, SIDE) or len(images) != len(labels) or labels.max() > 9:
        raise DatasetError(
            f"{folder / name}-*: expected as many labels from 0 to 9 as pictures of 28 x 28 "
            f"pixels, not {len(labels)} up to {labels.max()} and {images.shape}"
        )
    return Pictures(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))


def _found(folder: Path, name: str) -> Path | None:
    """The file, compressed or not, if it is there."""
    candidates = (folder / name, folder / f"{name}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _path(folder: Path, name: str) -> Path:
    path = _found(folder, name)
    if path is None:
        raise DatasetError(
            f"{folder} has no {name}.gz; put the four files of MNIST (or Fashion-MNIST) there, at "
            "least the two that begin with t10k, and give the folder as --data"
        )
    return path


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """An array of unsigned bytes in the IDX format of MNIST.

    Args:
        path: the file, gzip or not.
        dimensions: expected.

    Raises:
        DatasetError: if it is damaged, empty or another file.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            head = stream.read(4 + 4 * dimensions)
            if (
                head[:4] != bytes((0, 0, _UNSIGNED_BYTES, dimensions))
                or len(head) != 4 + 4 * dimensions
            ):
                raise DatasetError(f"{path} is no IDX file of bytes in {dimensions} dimensions")
            shape = tuple(int(size) for size in np.frombuffer(head, ">u4", dimensions, 4))
            data = stream.read(math.prod(shape) + 1)
    except (OSError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if len(data) != math.prod(shape) or not data:
        raise DatasetError(f"{path} is damaged: {shape} bytes expected, {len(data)} found")
    return np.frombuffer(data, np.uint8).reshape(shape).copy()
