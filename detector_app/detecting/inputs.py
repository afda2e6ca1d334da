"""What there is to look at, and where what comes of it goes."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from detector_app.stream.recordings import AEDAT4, is_recording
from detector_app.stream.sources import IMAGE_SUFFIXES
from spyv4.errors import ArgumentError

CLIP_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})


class Input(NamedTuple):
    """A picture or a clip.

    Attributes:
        path: of the file.
        name: of what is written about it, without suffix: the file's own, below the folder of the
            command line that it lies in.
    """

    path: Path
    name: Path

    @property
    def is_clip(self) -> bool:
        """Whether it is a video or a recording of an event camera, by its suffix."""
        return self.path.suffix.lower() in CLIP_SUFFIXES or is_recording(self.path)


def find_inputs(paths: Sequence[Path], *, recursive: bool) -> tuple[list[Input], list[str]]:
    """The files that `paths` name, folders opened, and what is wrong with the other paths.

    Args:
        paths: files, folders, and patterns such as `photos/**/*.jpg`.
        recursive: look into the folders of folders, too.

    Returns:
        Every file once, and one line for every path that gives none.
    """
    found: dict[Path, Input] = {}
    problems: list[str] = []
    for path in paths:
        if path.is_dir():
            inside = _inside(path, recursive=recursive)
            if not inside:
                problems.append(f"{path} holds no pictures or clips")
        elif path.exists():
            inside = [Input(path, Path(path.stem))]
        elif glob.has_magic(str(path)):
            inside = _matching(str(path))
            if not inside:
                problems.append(f"{path} matches no pictures or clips")
        else:
            inside = []
            problems.append(f"{path} does not exist; check the name")
        for item in inside:
            found.setdefault(item.path, item)
    return list(found.values()), problems


def _matching(pattern: str) -> list[Input]:
    """The pictures and clips that a pattern matches, sorted; `**` stands for any folders."""
    found = map(Path, sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207 - any path
    return [Input(path, Path(path.stem)) for path in found if _is_wanted(path)]


def _is_wanted(path: Path) -> bool:
    """Whether it is a picture or clip, by its suffix."""
    # Other suffixes of recordings are those of all kinds of files.
    wanted = IMAGE_SUFFIXES | CLIP_SUFFIXES | {AEDAT4}
    return path.suffix.lower() in wanted and path.is_file()


def _inside(folder: Path, *, recursive: bool) -> list[Input]:
    """The pictures and clips of a folder, sorted."""
    files = folder.rglob("*") if recursive else folder.iterdir()
    return [
        Input(path, path.relative_to(folder).with_suffix(""))
        for path in sorted(files)
        if _is_wanted(path)
    ]


class Targets:
    """Where outputs go: no two in one place, and none over an input.

    Args:
        inputs: files that are to stay as they are.
    """

    def __init__(self, inputs: Iterable[Path]) -> None:
        self._inputs = {path.resolve() for path in inputs}
        self._taken: set[Path] = set()
        self._numbers: dict[Path, int] = {}

    def take(self, path: Path) -> Path:
        """`path`, or where that is taken `path` with the next free number: a.jpg, a-2.jpg."""
        # Numbers go on where they stopped, or a thousand files of one name would take a million
        # looks.
        number, target = self._numbers.get(path, 1), path
        if number > 1:
            target = _numbered(path, number)
        while (place := target.resolve()) in self._taken or place in self._inputs:
            number += 1
            target = _numbered(path, number)
        self._numbers[path] = number
        self._taken.add(place)
        return target

    def claim(self, path: Path, option: str) -> Path:
        """`path` and no other, which the user named by `option`.

        Raises:
            ArgumentError: if it is an input or another output.
        """
        place = path.resolve()
        if place in self._inputs:
            raise ArgumentError(f"{option} {path} would overwrite an input; name another file")
        if place in self._taken:
            raise ArgumentError(f"{option} {path} is written to already; name another file")
        self._taken.add(place)
        return path


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")
