"""`spyv4-tasks`: the paper's tasks on sequences, one command each."""

import argparse
from pathlib import Path

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
    return run_command(parser, _tasks, argv)


def _tasks(arguments: argparse.Namespace) -> int:
    require_training()
    from training.tasks.action import run_task

    return run_task(arguments)
