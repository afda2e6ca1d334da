"""The work in parts: each is looked at by one process and becomes one file."""

import hashlib
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from detector_app.detecting.inputs import Input


class Part(NamedTuple):
    """A share of the work.

    Attributes:
        number: from 0.
        inputs: pictures, or one clip.
    """

    number: int
    inputs: tuple[Input, ...]


def cut(inputs: Sequence[Input], pictures: int) -> list[Part]:
    """All inputs, sorted by their paths, in parts.

    Args:
        inputs: pictures and clips.
        pictures: most pictures of a part, at least 1; a clip is a part of its own.
    """
    pieces: list[tuple[Input, ...]] = []
    ordered = sorted(inputs, key=lambda item: str(item.path))
    for are_clips, group in groupby(ordered, key=lambda item: item.is_clip):
        items = tuple(group)
        size = 1 if are_clips else pictures
        pieces += [items[start : start + size] for start in range(0, len(items), size)]
    return [Part(number, piece) for number, piece in enumerate(pieces)]


def digest(parts: Sequence[Part]) -> str:
    """Of which inputs stand in which part: sha256 of the paths, hexadecimal."""
    found = hashlib.sha256()
    for part in parts:
        for item in part.inputs:
            found.update(f"{part.number}\0{item.path}\0".encode())
    return found.hexdigest()
