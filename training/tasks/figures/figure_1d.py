"""Figure 1d: the firing rate of an LTC neuron while its input current varies."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.tasks.figures.drawing import Files, colour, drawing, files_of, plain, write_data
from training.tasks.figures.neuron import Weights, respond

VALUES = (-1.0, 1.0)
"""Of both effective weights."""
LEVELS = (0.5, 1.0, 3.0, 1.0, 0.5)
HOLD = 150
"""Steps that a level lasts; after the last comes a slow wave of two periods as long."""
WAVE_CENTRE, WAVE_SWING = 1.75, 1.25
WINDOW = 25
"""Steps that a firing rate is the mean of, up to the present one."""


def draw_1d(folder: Path) -> Files:
    """Draw the figure and write its data.

    Args:
        folder: for figure-1d.png and figure-1d.json.

    Raises:
        OSError: if they cannot be written.
    """
    files, data = files_of(folder, "figure-1d"), measure_1d()
    with drawing(files.picture, (8, 6.2)) as figure:
        top, *panels = figure.subplots(
            1 + len(data["firing_rates"]), 1, sharex=True, height_ratios=[1.2, 1, 1, 1, 1]
        )
        plain(top).plot(data["current"], color="#1d2730", linewidth=1.2)
        top.set_ylabel("current $I$")
        for index, (ax, rates) in enumerate(zip(panels, data["firing_rates"].items(), strict=True)):
            plain(ax).plot(rates[1], color=colour(index), linewidth=1.2)
            ax.set_title(rates[0], fontsize=8.5, loc="left", pad=2)
            ax.set_ylim(0, None)
        panels[1].set_ylabel(f"firing rate, spikes per step (mean of {WINDOW})")
        panels[-1].set_xlabel("step")
    write_data(files.data, data)
    return files


def measure_1d() -> dict[str, Any]:
    """The current, and firing rates in spikes per step by weights."""
    current = varying()
    rates = {
        f"membrane {membrane:g}, adaptation {adaptation:g}": recent_rate(
            respond(current[:, None], Weights(membrane, adaptation))[:, 0]
        ).tolist()
        for membrane in VALUES
        for adaptation in VALUES
    }
    return {
        "unit": f"spikes per step, mean of the last {WINDOW} steps",
        "current": [round(level, 4) for level in current.tolist()],
        "firing_rates": {key: [round(rate, 3) for rate in each] for key, each in rates.items()},
    }


def varying() -> Tensor:
    """The input current at every step, [steps]: levels, then a wave."""
    levels = torch.tensor(LEVELS).repeat_interleave(HOLD)
    phase = 2 * torch.pi * torch.arange(2 * HOLD) / HOLD
    return torch.cat((levels, WAVE_CENTRE - WAVE_SWING * torch.cos(phase)))


def recent_rate(spikes: Tensor) -> Tensor:
    """Mean of the last `WINDOW` steps, of those there were at first, [steps]."""
    totals = functional.pad(spikes.cumsum(0), (WINDOW, 0))
    steps = torch.arange(1, len(spikes) + 1).clamp(max=WINDOW)
    return (totals[WINDOW:] - totals[:-WINDOW]) / steps
