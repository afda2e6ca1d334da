"""Figure 2e and Table 1: memory and time of learning against the length of a sequence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from training.tasks.cost import Load, measure_cost
from training.tasks.figures.drawing import Files, colour, drawing, files_of, plain, write_data

LENGTHS = (100, 200, 400, 700, 1000)
RULES = ("fptt", "fptt-k", "plain", "tbptt", "eprop", "bptt")
ADD = Load("2-128R-1", inputs=2, batch=128)
R_MNIST = Load("r-mnist", inputs=784, batch=64)


def draw_2e(folder: Path, lengths: Sequence[int] = LENGTHS) -> Files:
    """Memory against length on the network of R-MNIST, of the rules of the paper's figure.

    Args:
        folder: for figure-2e.png and figure-2e.json.
        lengths: of sequences, in steps.

    Raises:
        OSError: if the files cannot be written.
    """
    files = files_of(folder, "figure-2e")
    data = measure_costs(R_MNIST, ("fptt", "plain", "bptt"), lengths)
    with drawing(files.picture, (5.4, 4)) as figure:
        _curves(figure.subplots(), data, "memory_mib", "memory of learning, MiB")
    write_data(files.data, data)
    return files


def draw_table_1(folder: Path, lengths: Sequence[int] = LENGTHS) -> Files:
    """Memory and time against length on the network of the Add-task, of every rule.

    Args:
        folder: for table-1.png and table-1.json.
        lengths: of sequences, in steps.

    Raises:
        OSError: if the files cannot be written.
    """
    files = files_of(folder, "table-1")
    data = measure_costs(ADD, RULES, lengths)
    with drawing(files.picture, (10, 4)) as figure:
        left, right = figure.subplots(1, 2)
        _curves(left, data, "memory_mib", "memory of learning, MiB")
        _curves(right, data, "seconds", "time of a batch of sequences, s")
    write_data(files.data, data)
    return files


def measure_costs(load: Load, rules: Sequence[str], lengths: Sequence[int]) -> dict[str, Any]:
    """Costs by rule, each in the order of the lengths; memory in MiB, time in seconds."""
    memory: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for rule in rules:
        costs = [measure_cost(load, rule, steps) for steps in lengths]
        memory[rule] = [round(cost.learning_mib, 1) for cost in costs]
        seconds[rule] = [round(cost.seconds, 3) for cost in costs]
    return {
        "load": load._asdict(),
        "neuron": "ltc; alif for eprop",
        "threads": 1,
        "lengths": list(lengths),
        "memory_mib": memory,
        "seconds": seconds,
    }


def _curves(ax: Axes, data: dict[str, Any], what: str, label: str) -> None:
    for index, (rule, values) in enumerate(data[what].items()):
        plain(ax).plot(
            data["lengths"], values, color=colour(index), marker="o", markersize=3.5, label=rule
        )
    ax.set(xscale="log", yscale="log", xlabel="length of a sequence, steps", ylabel=label)
    ax.set_xticks(data["lengths"], [str(length) for length in data["lengths"]])
    ax.minorticks_off()
    load = data["load"]
    ax.set_title(f"{load['network']}, batch {load['batch']}, float32", fontsize=9)
    ax.legend(frameon=False, fontsize=8)
