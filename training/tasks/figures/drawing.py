"""How the figures look, and where they and their data are written."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spyv4.files import write_atomically
from training.report.charts import COLOURS

_GRID = "#e4e7ea"
DPI = 110


class Files(NamedTuple):
    """Where a figure is.

    Attributes:
        picture: PNG.
        data: what it shows, as JSON.
    """

    picture: Path
    data: Path


def files_of(folder: Path, name: str) -> Files:
    """The files of a figure."""
    return Files(folder / f"{name}.png", folder / f"{name}.json")


@contextmanager
def drawing(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure that is saved at the end of the block, all or nothing.

    Args:
        path: a .png file; its folder is made.
        size: (width, height) in inches.
    """
    figure = Figure(figsize=size, layout="constrained")
    yield figure
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda part: figure.savefig(part, dpi=DPI, format="png"))


def plain(ax: Axes) -> Axes:
    """Axes without a frame, with a light grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, color=_GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def colour(index: int) -> str:
    """The colour of curve `index`."""
    return COLOURS[index % len(COLOURS)]


def write_data(path: Path, document: Mapping[str, Any]) -> None:
    """Write what a figure shows as JSON, all or nothing."""
    write_text(path, json.dumps(document) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text, all or nothing; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
