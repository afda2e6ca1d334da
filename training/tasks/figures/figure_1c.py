"""Figure 1c: the firing rate of an LTC neuron against its input current."""

from pathlib import Path
from typing import Any

import torch

from training.tasks.figures.drawing import Files, colour, drawing, files_of, plain, write_data
from training.tasks.figures.neuron import Weights, respond

VALUES = (-1.0, -0.5, 0.5, 1.0)
"""Of both effective weights."""
CURRENTS = torch.linspace(0, 4, 81)
STEPS, SETTLING = 2000, 500
"""How long a neuron is watched, and how long it is not counted."""


def draw_1c(folder: Path) -> Files:
    """Draw the figure and write its data.

    Args:
        folder: for figure-1c.png and figure-1c.json.

    Raises:
        OSError: if they cannot be written.
    """
    files, data = files_of(folder, "figure-1c"), measure_1c()
    with drawing(files.picture, (10, 2.9)) as figure:
        panels = figure.subplots(1, len(VALUES), sharey=True)
        for ax, membrane in zip(panels, VALUES, strict=True):
            for index, adaptation in enumerate(VALUES):
                rates = data["firing_rates"][_key(membrane, adaptation)]
                label = f"$W_{{\\tau adp}}$ = {adaptation:g}"
                plain(ax).plot(data["currents"], rates, color=colour(index), label=label)
            ax.set_title(f"$W_{{\\tau m}}$ = {membrane:g}", fontsize=10)
            ax.set_xlabel("input current $I$ (threshold: 0.1 to 1.9)", fontsize=8.5)
        panels[0].set_ylabel("firing rate, spikes per step")
        panels[0].legend(frameon=False, fontsize=8)
    write_data(files.data, data)
    return files


def measure_1c() -> dict[str, Any]:
    """Firing rates, in spikes per step, by weights and current."""
    constant = CURRENTS.expand(STEPS, -1)
    rates = {
        _key(membrane, adaptation): respond(constant, Weights(membrane, adaptation))[SETTLING:]
        .mean(0)
        .tolist()
        for membrane in VALUES
        for adaptation in VALUES
    }
    return {
        "unit": "spikes per step",
        "steps": STEPS,
        "not_counted": SETTLING,
        "currents": [round(current, 3) for current in CURRENTS.tolist()],
        "firing_rates": {key: [round(rate, 4) for rate in each] for key, each in rates.items()},
    }


def _key(membrane: float, adaptation: float) -> str:
    return f"membrane {membrane:g}, adaptation {adaptation:g}"
