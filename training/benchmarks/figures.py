"""How all figures of the benchmarks look."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spyv4.files import write_atomically
from training.report.charts import COLOURS, MARKERS


@contextmanager
def figure(
    path: Path, panels: int = 1, *, width: float = 5.2, height: float = 3.8
) -> Iterator[Any]:
    """Axes side by side, which are saved to `path` at the end of the block.

    Args:
        path: a .png or .svg file.
        panels: how many axes.
        width: of one panel, in inches.
        height: in inches.
    """
    drawing = Figure(figsize=(width * panels, height), layout="constrained")
    axes = drawing.subplots(1, panels, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(visible=True, color="#e4e7ea", linewidth=0.6)
        ax.set_axisbelow(True)
    yield list(axes)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=144)


def curve(ax: Axes, x: Any, y: Any, index: int, label: str, **options: Any) -> None:
    """A line in the colour and with the marker of `index`."""
    ax.plot(
        x,
        y,
        color=COLOURS[index % len(COLOURS)],
        marker=MARKERS[index % len(MARKERS)],
        markersize=4,
        linewidth=1.5,
        label=label,
        **options,
    )


def write_json(path: Path, document: Any) -> None:
    """Write a document for people and programs, all or nothing."""
    text = json.dumps(document, indent=1) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
