"""Charts of what more reads bring, and what they take."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from spyv4.energy import ACCUMULATE_PJ, MULTIPLY_ACCUMULATE_PJ, Comparison
from spyv4.network.table import LAYER_NAMES
from training.report.charts import COLOURS, Chart, chart, from_zero, line
from training.report.findings import Findings, ReadFindings

ENERGY = "estimated energy of a picture, mJ"
_MJ_IN_A_PJ = 1e-9
PARTS = {
    "spikes (accumulates)": ("synaptic_operations", ACCUMULATE_PJ),
    "pixels": ("pixel_operations", MULTIPLY_ACCUMULATE_PJ),
    "update rates": ("rate_operations", MULTIPLY_ACCUMULATE_PJ),
    "values": ("value_operations", MULTIPLY_ACCUMULATE_PJ),
}
"""What takes energy: the field of `Operations`, and picojoules for one of them."""


def reads_charts(findings: Findings) -> Iterator[Chart]:
    """Those whose data are there."""
    measured = {at.reads: at.operations for at in findings.by_reads if at.operations is not None}
    if measured and not measured[findings.reads].is_twin:
        yield chart(
            "Average precision against energy",
            partial(_map_against_energy, findings, measured),
            labels=(ENERGY, "mAP at IoU 0.5, %"),
            note="The figures are numbers of reads.",
        )
        yield chart("Where the energy goes", partial(_parts, measured), labels=("reads", ENERGY))
    if findings.firing_rates is not None:
        yield chart(
            "Firing rate of each layer",
            partial(_layers, findings.firing_rates),
            labels=("layer, shallow to deep", "share of neurons, %"),
        )
    numbered = [at for at in findings.by_reads if at.reads.isdecimal()]
    if len(numbered) > 1:
        note = f"Boxes shown from a score of {findings.score_threshold:.3f}."
        yield chart(
            "Score against reads",
            partial(_judged, numbered, "mean_score"),
            labels=("reads", "mean score, 0 to 1"),
            note=note,
        )
        yield chart(
            "Boxes against reads",
            partial(_judged, numbered, "number"),
            labels=("reads", "boxes shown"),
            note=note,
        )


def _map_against_energy(findings: Findings, measured: Mapping[str, Comparison], ax: Axes) -> None:
    energies = [operations.network.energy_mj for operations in measured.values()]
    shares = [np.nan if at.mean_ap is None else 100 * at.mean_ap for at in findings.by_reads]
    numbers = sum(name.isdecimal() for name in measured)
    line(ax, energies[:numbers], shares[:numbers], 0, "spiking")
    line(ax, energies[numbers:], shares[numbers:], 2, "auto" if shares[numbers:] else "")
    for name, x, y in zip(measured, energies, shares, strict=True):
        ax.annotate(name, (x, y), (4, 6), textcoords="offset points")
    twin = measured[findings.reads].twin.energy_mj
    if findings.twin is None or findings.twin.mean_ap is None:
        style: Any = {"color": COLOURS[1], "linestyle": "--", "label": "twin, mAP unknown"}
        ax.axvline(twin, **style)
    else:
        line(ax, [twin], [100 * findings.twin.mean_ap], 1, "twin, one read")
    ax.set_xlim(0, 1.1 * max(*energies, twin))
    from_zero(ax)


def _parts(measured: Mapping[str, Comparison], ax: Axes) -> None:
    bars = {name: operations.network for name, operations in measured.items()}
    bars["twin"] = next(iter(measured.values())).twin
    places, floor = np.arange(len(bars)), np.zeros(len(bars))
    for index, (label, (field, picojoules)) in enumerate(PARTS.items()):
        counts = np.array([getattr(operations, field) for operations in bars.values()])
        energies = picojoules * _MJ_IN_A_PJ * counts
        if energies.any():
            ax.bar(places, energies, 0.7, floor, color=COLOURS[index], label=label)
        floor += energies
    ax.set_xticks(places, list(bars))
    ax.grid(visible=False, axis="x")


def _layers(firing_rates: NDArray[np.float64], ax: Axes) -> None:
    places = np.arange(len(LAYER_NAMES))
    reads = len(firing_rates)
    shown = sorted({0, min(1, reads - 1), reads // 2, reads - 1})
    for index, read in enumerate(shown):
        line(ax, places, 100 * firing_rates[read], index, f"read {read + 1}")
    ax.set_xticks(places, LAYER_NAMES, rotation=90, fontsize=8.5)
    from_zero(ax)


def _judged(by_reads: list[ReadFindings], field: str, ax: Axes) -> None:
    reads = [int(at.reads) for at in by_reads]
    for index, verdict in enumerate(("right", "wrong")):
        values = [getattr(getattr(at, verdict), field) for at in by_reads]
        line(ax, reads, [np.nan if value is None else value for value in values], index, verdict)
    ax.set_xticks(reads)
    from_zero(ax)
