"""What the readers of all layouts share: bad pictures are named, or left out and counted."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from training.data.pictures import map_in_threads
from training.errors import DatasetError

logger = logging.getLogger(__name__)

SKIP_ADVICE = "correct it, or pass --skip-bad to go on without the picture"
T = TypeVar("T")
R = TypeVar("R")


class UnknownClassError(DatasetError):
    """An annotation has a class that is not configured; skipping would hide a mistake."""


def read_all(
    read: Callable[[T], R], jobs: Sequence[T], where: str, *, skip_bad: bool = False
) -> list[R]:
    """`read` of every job, in order.

    Args:
        read: makes an annotated picture.
        jobs: what it makes them of, at least one.
        where: the data set, for messages.
        skip_bad: leave out what raises `DatasetError`, and count it in a warning.

    Raises:
        DatasetError: of `read`, unless it is skipped; or if all of them are bad.
    """

    def attempt(job: T) -> R | DatasetError:
        try:
            return read(job)
        except UnknownClassError:
            raise
        except DatasetError as error:
            if not skip_bad:
                raise
            return error

    results = list(map_in_threads(attempt, jobs, "reading annotations"))
    problems = [result for result in results if isinstance(result, DatasetError)]
    if problems:
        logger.warning(
            "left out %d of %d pictures of %s; the first: %s",
            len(problems),
            len(jobs),
            where,
            problems[0],
        )
    if len(problems) == len(jobs):
        raise DatasetError(f"every picture of {where} is damaged; the first: {problems[0]}")
    return [result for result in results if not isinstance(result, DatasetError)]


def image_ids(paths: Sequence[Path]) -> list[str]:
    """The pictures' names: those of the files without ending, or the paths if two files share one.

    The paths start at the lowest folder that holds all, since a data set may be moved.
    """
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    absolute = [path.absolute() for path in paths]
    top = os.path.commonpath([path.parent for path in absolute])
    return [path.relative_to(top).as_posix() for path in absolute]
