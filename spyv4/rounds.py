"""All reads of several pictures, round by round: each round is one read of all that want more."""

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_map

from spyv4.activity import Activity
from spyv4.choices import MAX_READS
from spyv4.config import ModelConfig
from spyv4.network.spyv4 import SPYv4State
from spyv4.options import ReadOptions
from spyv4.preprocess import Picture
from spyv4.reading import Look, Seen, advance, see
from spyv4.runtime.base import Runtime
from spyv4.types import Detections

EVERY_READ = range(1, MAX_READS + 1)


class Read(NamedTuple):
    """What is known after one read.

    Attributes:
        number: of the read, from 1.
        detections: of every picture; empty where none were asked for.
        activity: firing rates and rasters, where they were asked for.
        state: for the next read.
    """

    number: int
    detections: list[Detections]
    activity: Activity | None
    state: SPYv4State


def read_pictures(
    runtime: Runtime,
    image_size: tuple[int, int],
    pictures: Sequence[Picture],
    options: ReadOptions,
    *,
    at: Container[int] = EVERY_READ,
    activity_at: Container[int] | None = None,
    state: SPYv4State | None = None,
) -> Iterator[Read]:
    """Look at a batch of pictures, read by read.

    Where reads are `auto`, each picture stops by itself, as if it were alone; what is known of it
    then stays as it is while others are looked at.

    Args:
        runtime: runs the network.
        image_size: (height, width) that pictures are stretched to.
        pictures: at least one.
        options: how to look.
        at: the reads after which boxes are wanted; the others cost no decoding, unless they are
            `auto`.
        activity_at: the reads whose activity is wanted, if it is; those in `at` by default.
        state: where to start; rest, or what `options` say, by default.

    Yields: what was seen, after every read.

    Raises:
        ArgumentError: if there are no pictures.
        ImageError: if a picture cannot be read.
    """
    looks = _looks(see(pictures, image_size), options, runtime.config, state)
    number, going = 0, looks
    while going:
        number += 1
        active = options.shows_activity and number in (at if activity_at is None else activity_at)
        advance(runtime, going, activity=active)
        found = [each for look in looks for each in look.detections()] if number in at else []
        states = [look.state for look in looks]
        yield Read(number, found, _joined([look.activity for look in looks]), _joined(states))
        going = [look for look in going if not look.finished]


def _looks(
    seen: Seen, options: ReadOptions, config: ModelConfig, state: SPYv4State | None
) -> list[Look]:
    """One look at all pictures, or one at each where it ends by itself."""
    if not options.is_auto:
        return [Look(seen, options, config, state=state)]
    looks = []
    for index, size in enumerate(seen.sizes):
        part = slice(index, index + 1)
        own = None if state is None else tree_map(lambda leaf, part=part: leaf[part], state)
        alone = Seen(seen.pixels[part], (size,), seen.preprocess_ms)
        looks.append(Look(alone, options, config, state=own))
    return looks


def _joined(parts: Sequence[Any]) -> Any:
    """What is known of several looks as one batch; None where it is of none."""
    if len(parts) == 1:
        return parts[0]
    if any(part is None for part in parts):
        return None
    return tree_map(lambda *leaves: torch.cat(leaves), *parts)


def in_groups(frames: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    """Frames in lists of `size`, the last one of what is left."""
    rest = iter(frames)
    while group := list(islice(rest, size)):
        yield group
