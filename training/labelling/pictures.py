"""Finding the pictures that a command names, and those among them that are damaged."""

import glob
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from spyv4.errors import ArgumentError
from training.data import AnnotatedImage
from training.data.pictures import check_picture, map_in_threads
from training.data.yolo import ENDINGS, pictures_like, upright_size
from training.errors import DatasetError

logger = logging.getLogger(__name__)
_UNFIT = re.compile(r"^\.+|[^\w.+()-]+")
"""What the lists of VOC or a search for pictures stumble over."""


def find_pictures(texts: Sequence[str]) -> list[Path]:
    """The pictures that files, folders (with those below them) and patterns name, each once.

    Raises:
        ArgumentError: if one of them names none.
    """
    found: list[Path] = []
    for text in texts:
        pattern = f"{glob.escape(text)}/**/*.*" if Path(text).is_dir() else text
        paths = [Path(text)] if Path(text).is_file() else pictures_like(pattern)
        if not paths:
            raise ArgumentError(
                f"{text} names no pictures; give files, folders or a pattern of files that end in "
                f"{' '.join(ENDINGS)}"
            )
        found += paths
    return list(dict.fromkeys(found))


def check_pictures(paths: Sequence[Path], *, skip_bad: bool) -> list[AnnotatedImage]:
    """The pictures, not annotated yet, with ids that are fit for file names.

    Every one is decoded, so that a damaged one shows before hours of work.

    Args:
        paths: the picture files.
        skip_bad: name those that are missing, damaged or turned in a warning, and go on without.

    Raises:
        DatasetError: if one is bad and not skipped, or all are.
    """

    def attempt(path: Path) -> tuple[int, int] | DatasetError:
        try:
            size = upright_size(path)
            check_picture(path, size, thorough=True)
        except DatasetError as error:
            return error
        return size

    results = list(map_in_threads(attempt, paths, "checking pictures"))
    problems = [result for result in results if isinstance(result, DatasetError)]
    if problems and not skip_bad:
        more = f" ({len(problems)} of {len(paths)} pictures are bad)" if len(problems) > 1 else ""
        raise DatasetError(f"{problems[0]}{more}")
    for problem in problems:
        logger.warning("left out: %s", problem)
    if len(problems) == len(paths):
        raise DatasetError(f"all {len(paths)} pictures are bad; nothing is left to label")
    return [
        AnnotatedImage(name, path, result, ())
        for name, path, result in zip(_names(paths), paths, results, strict=True)
        if not isinstance(result, DatasetError)
    ]


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names without ending and without what is unfit, numbered where two are alike."""
    names: dict[str, None] = {}
    for path in paths:
        stem = name = _UNFIT.sub("_", path.stem)
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names[name] = None
    return list(names)
