"""All spikes of a picture, and the file that holds them.

A file is an .npz of these arrays, for R reads and L layers:

    format          text, `spyv4-spikes-1`
    config          text, the `ModelConfig` as JSON
    runtime         text, how the network was run
    image_size      int64 [2], (height, width) of the network's image in pixels
    picture_size    int64 [2], (height, width) of the picture in pixels
    layer_names     text [L], shallow to deep
    shapes          int64 [L, 3], (channels, height, width) of every layer
    spikes.LAYER    uint8 [R, ceil(C H W / 8)], `numpy.packbits` of every read
    potentials.LAYER    float16 or float32 [R, C, H, W], where they are wanted
    box_reads       int64 [N], the read that each box was found at, from 1
    boxes_xyxy, scores, labels    of N boxes, as `Detections` has them
"""

import json
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from spyv4.config import ModelConfig
from spyv4.errors import ConfigError, SpikeFileError
from spyv4.files import write_atomically
from spyv4.types import Detections
from spyv4.validation import from_mapping, to_mapping

FORMAT = "spyv4-spikes-1"
PotentialType = Literal["float16", "float32"]
Shape = tuple[int, int, int]
Arrays = Mapping[str, NDArray[Any]]
SPIKES, POTENTIALS = "spikes.", "potentials."
# What zipfile, its decompressors and numpy raise at damage has no common ancestor.
_READ_ERRORS = (
    ConfigError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
BOXES = ("boxes_xyxy", "scores", "labels")


@dataclass(frozen=True, eq=False)
class SpikeRecord(Mapping[str, NDArray[np.uint8]]):
    """All spikes of all reads of one picture: `record["stem1"]` is uint8 [reads, C, H, W].

    They are unpacked anew whenever they are asked for.

    Attributes:
        packed: `numpy.packbits` of the spikes of every read by layer, uint8 [reads, bytes].
        shapes: (channels, height, width) by layer, shallow to deep.
        potentials: membrane potentials after every read, after the reset, by layer, float16 or
            float32 [reads, C, H, W]; empty unless asked for.
        detections: boxes after every read.
        image_size: (height, width) of the network's image in pixels.
        config: of the network.
        runtime: how the network was run, for people.
    """

    packed: Mapping[str, NDArray[np.uint8]]
    shapes: Mapping[str, Shape]
    potentials: Mapping[str, NDArray[np.floating[Any]]]
    detections: tuple[Detections, ...]
    image_size: tuple[int, int]
    config: ModelConfig
    runtime: str

    def __getitem__(self, layer: str) -> NDArray[np.uint8]:
        shape = self.shapes[layer]
        bits = np.unpackbits(self.packed[layer], axis=1, count=int(np.prod(shape)))
        return bits.reshape(-1, *shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def reads(self) -> int:
        """How many."""
        return len(self.detections)

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all; one that is there is replaced.

        Raises:
            OSError: if it cannot be written.
        """
        arrays = self._arrays()
        write_atomically(Path(path), lambda temporary: _write(temporary, arrays))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """What is in the file."""
        counts = [len(found) for found in self.detections]
        arrays: dict[str, NDArray[Any]] = {
            "format": np.array(FORMAT),
            "config": np.array(json.dumps(to_mapping(self.config))),
            "runtime": np.array(self.runtime),
            "image_size": np.array(self.image_size, np.int64),
            "picture_size": np.array(self.detections[0].image_size, np.int64),
            "layer_names": np.array(list(self.shapes)),
            "shapes": np.array(list(self.shapes.values()), np.int64),
            "box_reads": np.repeat(np.arange(1, self.reads + 1), counts),
        }
        for field in BOXES:
            arrays[field] = np.concatenate([getattr(found, field) for found in self.detections])
        arrays |= {f"{SPIKES}{name}": packed for name, packed in self.packed.items()}
        arrays |= {f"{POTENTIALS}{name}": u for name, u in self.potentials.items()}
        return arrays


def _write(path: Path, arrays: Arrays) -> None:
    """Write an .npz file: numpy's own writers compress all of it or nothing.

    Spikes shrink by half; potentials by a fifth, which is not worth five times as long.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in arrays.items():
            entry = zipfile.ZipInfo(f"{key}.npy")
            stored = key.startswith(POTENTIALS)
            entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load_spikes(path: str | Path) -> SpikeRecord:
    """Read a file that `SpikeRecord.save` or `spyv4-detect --save-spikes` wrote.

    Raises:
        SpikeFileError: if it is missing, damaged, or no such file.
    """
    try:
        arrays = _read(Path(path))
        if "format" not in arrays or str(arrays["format"]) != FORMAT:
            raise SpikeFileError(f"{path} is not a file of spikes ({FORMAT}); see docs/spikes.md")
        return _record(arrays)
    except FileNotFoundError:
        raise SpikeFileError(f"there is no file of spikes at {path}; check the path") from None
    except _READ_ERRORS as error:
        raise SpikeFileError(
            f"{path} is not a readable file of spikes: {error}; record it anew"
        ) from error


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, whose checksums are compared before any is made sense of."""
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"{broken} is damaged")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _record(arrays: Arrays) -> SpikeRecord:
    """What the arrays of a file say.

    Raises:
        ValueError: where they do not fit each other.
        KeyError: where one is missing.
        ConfigError: where the configuration is none.
    """
    config = from_mapping(ModelConfig, json.loads(str(arrays["config"])))
    names, sizes = arrays["layer_names"].tolist(), arrays["shapes"].tolist()
    shapes = {name: cast("Shape", tuple(size)) for name, size in zip(names, sizes, strict=True)}
    packed = {name: arrays[f"{SPIKES}{name}"] for name in names}
    reads = len(packed[names[0]])
    for name, shape in shapes.items():
        _require_shape(packed[name], (reads, -(-int(np.prod(shape)) // 8)), f"{SPIKES}{name}")
    potentials = {}
    if any(key.startswith(POTENTIALS) for key in arrays):
        potentials = {name: arrays[f"{POTENTIALS}{name}"] for name in names}
        for name, shape in shapes.items():
            _require_shape(potentials[name], (reads, *shape), f"{POTENTIALS}{name}")
    height, width = arrays["image_size"].tolist()
    return SpikeRecord(
        packed,
        shapes,
        potentials,
        _detections(arrays, reads, config),
        (height, width),
        config,
        str(arrays["runtime"]),
    )


def _detections(arrays: Arrays, reads: int, config: ModelConfig) -> tuple[Detections, ...]:
    """The boxes of every read."""
    height, width = arrays["picture_size"].tolist()
    number = arrays["box_reads"]
    for key, shape in zip(BOXES, ((4,), (), ()), strict=True):
        _require_shape(arrays[key], (len(number), *shape), key)
    found = []
    for read in range(1, reads + 1):
        boxes, scores, labels = (arrays[key][number == read] for key in BOXES)
        found.append(Detections(boxes, scores, labels, config.class_names, (height, width), read))
    return tuple(found)


def _require_shape(array: NDArray[Any], shape: tuple[int, ...], key: str) -> None:
    if array.shape != shape:
        raise ValueError(f"{key} is of shape {array.shape}, not {shape}")
