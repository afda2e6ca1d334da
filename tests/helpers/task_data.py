"""Small data sets in the formats of the real ones."""

import gzip
from pathlib import Path

import numpy as np


def digits(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of ten classes that can be told apart: a bright block where the class says."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    images = rng.integers(0, 40, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 5)
        image[4 + 12 * row : 12 + 12 * row, 1 + 5 * column : 6 + 5 * column] += 200
    return images, labels


def write_idx(path: Path, array: np.ndarray) -> None:
    """An array of bytes in the IDX format; compressed where the name says so."""
    head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    data = head + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_mnist(folder: Path, *, train: int = 0, test: int = 40, suffix: str = ".gz") -> Path:
    """The files of MNIST, with so many pictures; none of the training ones for 0."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("t10k", test)):
        if count:
            images, labels = digits(count, seed=len(name))
            write_idx(folder / f"{name}-images-idx3-ubyte{suffix}", images)
            write_idx(folder / f"{name}-labels-idx1-ubyte{suffix}", labels)
    return folder


def gesture_events(label: int, count: int = 200) -> np.ndarray:
    """Events as the files of DVS-Gesture hold them: rows of x, y, polarity, time in ms."""
    rng = np.random.default_rng(label)
    x = rng.integers(0, 8, count) + 10 * label
    return np.stack(
        (x, rng.integers(0, 128, count), np.arange(count) % 2, np.arange(count) * 10), axis=1
    ).astype(np.float64)


def write_gestures(folder: Path, classes: int = 3) -> Path:
    """A DVS-Gesture of one recording a class and split."""
    for split, user in (("Train", "user01_fluorescent"), ("Test", "user24_led")):
        place = folder / "DVSGesture" / f"ibmGesture{split}" / user
        place.mkdir(parents=True)
        for label in range(classes):
            np.save(place / f"{label}.npy", gesture_events(label))
    return folder
