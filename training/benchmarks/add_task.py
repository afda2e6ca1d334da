r"""Figures 2a and 2b of the paper, and which part of FPTT does the work, from runs of the Add-task.

    spyv4-tasks run add --neuron ltc --learner fptt-k --json runs/add/fptt-k-0.json   # and others
    python -m training.benchmarks.add_task --runs runs/add --json docs/add-task.json \
        --figure docs/add-task.png

The table has one row a rule, its seeds side by side.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from spyv4.commandline import build_parser, run_command
from training.benchmarks.figures import curve, figure, write_json
from training.tasks.add import GOOD, LAST

VARIANCE = 1 / 6
"""Of the goal: the error of always saying 1."""
EVERY = 50
"""Losses are kept as means over so many iterations."""


class Run(NamedTuple):
    """One run, as far as it matters here.

    Attributes:
        rule: neuron and learning rule, in words.
        length: steps of a sequence.
        seed: of the run.
        solved: the first iteration at which the mean of the last 100 was below 0.01, or None.
        iterations: how many there were.
        final_loss: mean of the last 100.
        curve: means over 50 iterations.
    """

    rule: str
    length: int
    seed: int
    solved: int | None
    iterations: int
    final_loss: float
    curve: list[float]


def read_run(path: Path) -> Run:
    """A result of `spyv4-tasks run add`."""
    document = json.loads(path.read_text(encoding="utf-8"))
    config, losses = document["config"], document["losses"]
    return Run(
        rule=_in_words(config),
        length=config["length"],
        seed=config["seed"],
        solved=_solved(losses),
        iterations=len(losses),
        final_loss=document["final_loss"],
        curve=[
            round(sum(losses[start : start + EVERY]) / EVERY, 6)
            for start in range(0, len(losses) - EVERY + 1, EVERY)
        ],
    )


def _in_words(config: dict[str, Any]) -> str:
    """For example `ltc: 10 updates, through 1/10 each, regulariser 0.5`."""
    learner = config["learner"]
    kind, count = learner["kind"], learner["updates"]
    words = {
        "bptt": "1 update, through all",
        "fptt-k": f"{count or 10} updates, each through its part",
        "tbptt": f"{count or 10} updates, each through its part",
        "fptt": f"{count or config['length']} updates, each through one step",
        "plain": f"{count or config['length']} updates, each through one step",
    }[kind]
    regulariser = f", alpha {learner['alpha']:g}" if kind.startswith("fptt") else ", no regulariser"
    adopted = ", W <- Wbar" if learner["adopt_running_mean"] and regulariser[2] == "a" else ""
    return f"{config['neuron']}: {words}{regulariser}{adopted}"


def _solved(losses: list[float]) -> int | None:
    """When the mean of the last 100 came below 0.01."""
    total = sum(losses[:LAST])
    for end in range(LAST, len(losses) + 1):
        if total / LAST < GOOD:
            return end
        if end < len(losses):
            total += losses[end] - losses[end - LAST]
    return None


def table(runs: list[Run]) -> str:
    """One row a rule and length, its seeds side by side, in Markdown."""
    lines = [
        "| length | neuron and rule | seeds | solved at iteration | final loss | iterations |",
        "|---|---|---|---|---|---|",
    ]
    for length, rule in sorted({(run.length, run.rule) for run in runs}):
        same = sorted((r for r in runs if (r.length, r.rule) == (length, rule)), key=_seed)
        solved = ", ".join("never" if run.solved is None else str(run.solved) for run in same)
        final = ", ".join(f"{run.final_loss:.4f}" for run in same)
        count = ", ".join(str(run.iterations) for run in same)
        lines.append(f"| {length} | {rule} | {len(same)} | {solved} | {final} | {count} |")
    return "\n".join(lines)


def _seed(run: Run) -> int:
    return run.seed


def draw(runs: list[Run], path: Path) -> None:
    """Loss against iteration, a panel a length, a colour a rule, a line a seed."""
    lengths = sorted({run.length for run in runs})
    with figure(path, len(lengths), width=7.2, height=5.6) as axes:
        for ax, length in zip(axes, lengths, strict=True):
            rules = sorted({run.rule for run in runs if run.length == length})
            for run in sorted(runs, key=_seed):
                if run.length == length:
                    x = [EVERY * (index + 1) for index in range(len(run.curve))]
                    label = run.rule if run.seed == 0 else ""
                    curve(ax, x, run.curve, rules.index(run.rule), label)
                    ax.lines[-1].set(marker="", alpha=0.9, linewidth=1.2)
            ax.axhline(VARIANCE, color="#9aa4ab", linewidth=1, linestyle="--")
            ax.axhline(GOOD, color="#9aa4ab", linewidth=1, linestyle=":")
            ax.set(xlabel="iteration (batches of 128)", yscale="log")
            ax.set_title(f"Add-task, {length} steps; dashed: knowing nothing", fontsize=9)
            below = (0.5, -0.13)  # the curves leave no corner free
            ax.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=below, ncols=2)
        axes[0].set_ylabel("squared error at the end of the sequence")


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "training.benchmarks.add_task",
        "Draw and tabulate runs of the Add-task.",
        "python -m training.benchmarks.add_task --runs runs/add --json add-task.json",
    )
    parser.add_argument("--runs", type=Path, required=True, help="folder of their JSON files")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    return run_command(parser, _main, argv)


def _main(arguments: argparse.Namespace) -> int:
    runs = [read_run(path) for path in sorted(arguments.runs.glob("*.json"))]
    write_json(arguments.json, [run._asdict() for run in runs])
    if arguments.figure is not None:
        draw(runs, arguments.figure)
    print(table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
