"""`spyv4-tasks`: the paper's tasks on sequences, one command each."""

import argparse
from pathlib import Path
from typing import Any

from spyv4.commandline import build_parser, positive, run_command
from training.commands.answering import answering, require_training


def main() -> int:
    """The console script."""
    with answering("spyv4-tasks"):
        return tasks_command()


def tasks_command(argv: list[str] | None = None) -> int:
    """`spyv4-tasks` within a program."""
    parser = build_parser(
        "spyv4-tasks",
        "Run a task of the paper under a learning rule.",
        "spyv4-tasks run add --neuron ltc --learner fptt-k --length 200 --json add.json",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the tasks")
    run = commands.add_parser("run", help="run one")
    run.add_argument("task", choices=["add"])
    run.add_argument("--neuron", choices=["ltc", "alif", "lstm"])
    run.add_argument("--learner", choices=["plain", "fptt", "fptt-k", "bptt", "tbptt"])
    run.add_argument("--updates", type=int, help="segments of fptt-k and tbptt (10)")
    run.add_argument("--alpha", type=float, help="strength of FPTT's regulariser (0.5)")
    run.add_argument("--length", type=positive, help="steps of a sequence (200)")
    run.add_argument("--iterations", type=positive, help="(10000)")
    run.add_argument("--learning-rate", type=float, help="(0.003)")
    run.add_argument("--adopt", action="store_true", help="W <- Wbar after every 100 batches")
    run.add_argument("--stop-below", type=float, help="end once the mean of 100 losses is below")
    run.add_argument("--seed", type=int)
    run.add_argument("--compile", action="store_true", help="compile the step of the network")
    run.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="go on from there, and save there"
    )
    run.add_argument("--json", type=Path, metavar="FILE", help="write configuration and losses")
    _add_figure(commands)
    return run_command(parser, _tasks, argv)


def _add_figure(commands: Any) -> None:
    add = commands.add_parser("figure", help="draw a figure of the paper anew").add_argument
    add("figure", choices=["1c", "1d", "3c"])
    add(
        "--output",
        type=Path,
        default=Path("docs/paper"),
        metavar="DIR",
        help="folder for the picture and its data (%(default)s)",
    )
    add("--clip", type=Path, metavar="FILE", help="of 3c: what the network looks at first")
    add(
        "--irrelevant",
        type=Path,
        metavar="FILE",
        help="of 3c: what it looks at then; otherwise the first clip's median, which stands still",
    )
    add("--frames", type=positive, default=150, metavar="N", help="of either (%(default)s)")
    add("--weights", metavar="NAME|FILE", help="of 3c: model; the shipped one otherwise")
    add("--seed", type=int, default=0, help="of 3c: which neurons are shown (%(default)s)")


def _tasks(arguments: argparse.Namespace) -> int:
    require_training()
    if arguments.command == "figure":
        from training.tasks.figures.action import draw_figure

        return draw_figure(arguments)
    from training.tasks.action import run_task

    return run_task(arguments)
