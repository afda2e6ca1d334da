"""Recordings of event cameras as sequences of frames.

The folders are laid out as the tonic library lays them out, whose own reader is not used: it starts
a download where a file is missing. Nothing is downloaded here.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spyv4.errors import SPYv4Error
from spyv4.extras import require_extra
from training.errors import DatasetError
from training.tasks.data import Sequences, TaskData

SENSOR_SIDE = 128
"""Of the DVS128, which both data sets come from, in pixels."""
UNIT_US = 10_000
"""Values of frames are events of a pixel in so much time, on average over the frame's block."""
GESTURES = (
    *("hand clapping", "right hand wave", "left hand wave", "right arm clockwise"),
    *("right arm counter-clockwise", "left arm clockwise", "left arm counter-clockwise"),
    *("arm roll", "air drums", "air guitar", "other"),
)
CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
TEST_SHARE = 10
"""One of so many recordings of each class of CIFAR10-DVS, which has no split of its own."""


class Events(NamedTuple):
    """Events of a recording.

    Attributes:
        time_us: int64 [N].
        x, y: int64 [N], pixels.
        on: int64 [N], 1 where it became brighter, else 0.
    """

    time_us: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    on: NDArray[np.int64]


class EventSequences(Sequences):
    """Recordings as frames, read when they are asked for: with 1,000 frames they fill no memory.

    Each recording is cut into blocks of one duration (paper, Methods), and each block averaged to
    one frame of two channels, darker and brighter.

    Args:
        files: the recordings.
        labels: their class numbers.
        read: reads one.
        frames: blocks.
    """

    def __init__(
        self,
        files: list[Path],
        labels: list[int],
        read: Callable[[Path], Events],
        frames: int,
    ) -> None:
        self.files, self.labels = files, torch.tensor(labels)
        self.steps, self.shape = frames, (2, SENSOR_SIDE, SENSOR_SIDE)
        self._read = read

    def read(self, chosen: Tensor, _generator: torch.Generator) -> Tensor:
        """See `Sequences`.

        Raises:
            DatasetError: if a recording is damaged.
        """
        recordings = (self.files[number] for number in chosen.tolist())
        frames = [to_frames(self._checked(path), self.steps) for path in recordings]
        return torch.stack([torch.from_numpy(frame) for frame in frames], dim=1)

    def _checked(self, path: Path) -> Events:
        try:
            events = self._read(path)
        except (SPYv4Error, MemoryError):
            raise
        except Exception as error:  # what libraries raise of damaged files has no common ancestor
            raise DatasetError(f"{path} cannot be read: {error}") from error
        if not len(events.time_us):
            raise DatasetError(f"{path} has no events")
        for values, end in ((events.x, SENSOR_SIDE), (events.y, SENSOR_SIDE), (events.on, 2)):
            if values.min() < 0 or values.max() >= end:
                raise DatasetError(f"{path} is damaged: values from 0 to {end - 1} expected")
        return events


def to_frames(events: Events, frames: int) -> NDArray[np.float32]:
    """Frames of blocks of one duration, [frames, 2, 128, 128].

    Args:
        events: at least one, within the sensor.
        frames: blocks.

    Returns:
        Events of each pixel and polarity in `UNIT_US`, averaged over the block.
    """
    since = events.time_us - events.time_us.min()
    duration = int(since.max()) + 1
    block = since * frames // duration
    place = ((block * 2 + events.on) * SENSOR_SIDE + events.y) * SENSOR_SIDE + events.x
    shape = (frames, 2, SENSOR_SIDE, SENSOR_SIDE)
    counts = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)
    return (counts * (UNIT_US * frames / duration)).astype(np.float32)


def open_gestures(folder: Path, frames: int) -> TaskData:
    """DVS-Gesture, as tonic lays it out: `ibmGestureTrain/user01_fluorescent/0.npy` and so on.

    Each file is one gesture, [N, 4]: x, y, polarity, and time in ms; its name is the class number.

    Args:
        folder: holds `ibmGestureTrain` and `ibmGestureTest`, or `DVSGesture` that does.
        frames: a recording.

    Raises:
        DatasetError: if there are none.
    """
    inner = folder / "DVSGesture"
    base = inner if inner.is_dir() else folder
    splits: list[EventSequences] = []
    for name in ("ibmGestureTrain", "ibmGestureTest"):
        files = sorted((base / name).glob("*/*.npy"))
        if not files:
            raise DatasetError(
                f"{base} has no {name}/USER_LIGHT/CLASS.npy; unpack ibmGestureTrain.tar.gz and "
                "ibmGestureTest.tar.gz of DVS-Gesture as prepared for tonic there, and give the "
                "folder as --data"
            )
        labels = [_gesture(path) for path in files]
        splits.append(EventSequences(files, labels, _read_npy, frames))
    train, test = splits
    split = f"standard: {len(train)} training and {len(test)} test recordings, by person"
    return TaskData(train, test, split, GESTURES)


def _gesture(path: Path) -> int:
    """The class number that a file is named by."""
    if not path.stem.isdecimal() or int(path.stem) >= len(GESTURES):
        raise DatasetError(f"{path} should be named by its class, from 0.npy to 10.npy")
    return int(path.stem)


def _read_npy(path: Path) -> Events:
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    if array.ndim != 2 or array.shape[1] != 4:
        raise DatasetError(f"{path} is of shape {array.shape}; rows of x, y, polarity, ms expected")
    x, y, on, time_ms = array.astype(np.int64).T
    return Events(time_ms * 1000, x, y, on)


def open_cifar10(folder: Path, frames: int) -> TaskData:
    """CIFAR10-DVS, as tonic lays it out: `airplane/cifar10_airplane_0.aedat4` and so on.

    The last tenth of each class, by the numbers in the names, is tested on.

    Args:
        folder: holds a folder a class, or `CIFAR10DVS` that does.
        frames: a recording.

    Raises:
        DatasetError: if a class is missing.
        RuntimeUnavailableError: if the `events` extra is not installed.
    """
    require_extra("events", "recordings of event cameras")
    inner = folder / "CIFAR10DVS"
    base = inner if inner.is_dir() else folder
    parts: tuple[list[tuple[Path, int]], list[tuple[Path, int]]] = ([], [])
    for label, name in enumerate(CIFAR10):
        files = sorted((base / name).glob("*.aedat4"), key=_numbers)
        if len(files) < 2:
            raise DatasetError(
                f"{base / name} has not two .aedat4 files; unpack {name}.zip of CIFAR10-DVS as "
                "prepared for tonic there, likewise the other classes, and give the folder above "
                "them as --data"
            )
        tested = max(1, len(files) // TEST_SHARE)
        parts[0].extend((path, label) for path in files[:-tested])
        parts[1].extend((path, label) for path in files[-tested:])
    train, test = (
        EventSequences([p for p, _ in part], [k for _, k in part], _read_aedat4, frames)
        for part in parts
    )
    split = f"ours: the last tenth of each class is tested on ({len(test)}), {len(train)} learned"
    return TaskData(train, test, split, CIFAR10)


def _numbers(path: Path) -> tuple[list[int], str]:
    """What files are ordered by: 2 comes before 10."""
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.stem


def _read_aedat4(path: Path) -> Events:
    from faery import aedat

    with aedat.Decoder(path) as decoder:
        packets = [packet for track, packet in decoder if track.data_type == "events"]
    if not packets:
        raise DatasetError(f"{path} has no events")
    events = np.concatenate(packets)
    return Events(*(events[name].astype(np.int64) for name in ("t", "x", "y", "on")))
