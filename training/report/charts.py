"""Charts as SVG that follows the reader's light or dark screen."""

import base64
import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#0b5fa5", "#d1495b", "#2a9d5c", "#e39b2d", "#6a4c93", "#5c6b73", "#00a6a6", "#9a5b34")
"""Told apart by the colour-blind when drawn with different markers, too."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_ON_DARK = ("#62b0f0", "#f0808f", "#5fcf92", "#f2bd62", "#b59ae0", "#9fb0ba", "#3fd0d0", "#d39a70")
_INK, _GRID = "#1d2730", "#dfe4e8"
_DARK = dict(zip((*COLOURS, _INK, _GRID), (*_ON_DARK, "#d5dde4", "#2f3a43"), strict=True))
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spyv4",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.5,
    "lines.markersize": 4,
}


class Chart(NamedTuple):
    """A picture of figures.

    Attributes:
        title: what it shows.
        source: the SVG as a data URI.
        note: what else is to be said; may be empty.
    """

    title: str
    source: str
    note: str = ""


def chart(
    title: str,
    draw: Callable[[Axes], None],
    *,
    labels: tuple[str, str],
    note: str = "",
    size: tuple[float, float] = (4.2, 2.9),
) -> Chart:
    """A chart of one pair of axes.

    Args:
        title: what it shows.
        draw: puts the figures on the axes.
        labels: of the axes, across and up, with their units.
        note: what else is to be said.
        size: (width, height) in inches.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        ax = figure.subplots()
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(visible=True, color=_GRID, linewidth=0.6)
        ax.set_axisbelow(True)
        draw(ax)
        ax.set_xlabel(labels[0])
        ax.set_ylabel(labels[1])
        if names := ax.get_legend_handles_labels()[1]:
            columns = 2 if len(names) > 3 or max(map(len, names)) > 12 else len(names)
            ax.legend(loc="lower left", bbox_to_anchor=(-0.05, 1.0), ncols=columns)
        stream = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    return Chart(title, _data_uri(stream.getvalue()), note)


def line(ax: Axes, x: Any, y: Any, index: int, label: str = "", **options: Any) -> None:
    """A line in the colour of `index`; with its marker, too, if there are few points."""
    marker = MARKERS[index % len(MARKERS)] if len(x) <= 30 else ""
    colour = COLOURS[index % len(COLOURS)]
    ax.plot(x, y, color=colour, **({"marker": marker} | options), label=label or None)


def from_zero(ax: Axes) -> None:
    """Let the axis up start at zero, with some room above what is drawn."""
    ax.set_ylim(0, 1.05 * ax.get_ylim()[1])


def _data_uri(svg: str) -> str:
    """An SVG whose colours depend on the reader's screen, and whose fonts are the screen's own."""
    svg = svg[svg.index("<svg") :].replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif")
    for number, colour in enumerate(_DARK):
        svg = re.sub(f": ?{colour}", f": var(--c{number})", svg, flags=re.IGNORECASE)
    light, dark = (
        "".join(f"--c{number}:{colour};" for number, colour in enumerate(colours))
        for colours in (_DARK, _DARK.values())
    )
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    svg = re.sub(r"(<svg[^>]*>)", lambda match: match[1] + style, svg, count=1)
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
