"""`spyv4-tasks`: the paper's tasks on sequences, one command each."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from spyv4.commandline import build_parser, positive, run_command
from training.commands.answering import answering, require_training
from training.interrupts import Interrupts
from training.tasks.choices import LEARNERS, NEURON_NAMES, TASKS


def main() -> int:
    """The console script."""
    with answering("spyv4-tasks") as stop:
        return tasks_command(stop=stop)


def tasks_command(argv: list[str] | None = None, *, stop: Interrupts | None = None) -> int:
    """`spyv4-tasks` within a program; `stop` answers Ctrl-C and SIGTERM."""
    parser = build_parser(
        "spyv4-tasks",
        "Run a task of the paper with any of its neurons under any learning rule.",
        "spyv4-tasks run s-mnist --data data/mnist --neuron ltc --learner fptt-k --json run.json",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the tasks")
    run = commands.add_parser("run", help="run one")
    run.add_argument("task", choices=list(TASKS))
    _add_network(run.add_argument_group("network").add_argument)
    _add_learning(run.add_argument_group("learning").add_argument)
    _add_data(run.add_argument_group("data of all tasks but add").add_argument)
    _add_add(run.add_argument_group("the task add").add_argument)
    _add_run(run.add_argument_group("run").add_argument)
    _add_figure(commands)
    return run_command(parser, partial(_tasks, stop=stop or Interrupts()), argv)


def _add_network(add: Callable[..., object]) -> None:
    add("--neuron", choices=NEURON_NAMES, help="(ltc)")
    add(
        "--network",
        metavar="STRING",
        help="in the paper's notation, such as 512R-10I, or the name of a task for the one that "
        "the paper has there (that of the task's recipe)",
    )
    add("--seed", type=int, help="of parameters, order and noise (0)")


def _add_learning(add: Callable[..., object]) -> None:
    add("--learner", choices=LEARNERS, help="learning rule (fptt-k)")
    add("--updates", type=int, metavar="K", help="updates a sequence (10 of fptt-k and tbptt)")
    add("--alpha", type=float, help="strength of FPTT's regulariser")
    add("--loss-at", choices=["end", "every"], help="steps of a segment that are judged (end)")
    add("--adopt", action="store_true", help="W <- Wbar after every epoch (of add: 100 batches)")
    add("--learning-rate", type=float)
    add(
        "--schedule",
        choices=["constant", "cosine", "linear", "step"],
        help="of the learning rate; step halves it where the paper does; not of add (cosine)",
    )
    add("--batch-size", type=positive, help="sequences a batch; 1 learns online")


def _add_data(add: Callable[..., object]) -> None:
    add("--data", type=Path, metavar="FOLDER", help="with the files of the data set")
    add("--epochs", type=positive, help="passes over the training samples")
    add("--minutes", type=float, help="stop learning after so many, and evaluate")
    add("--limit", type=positive, metavar="N", help="learn from the first N samples alone")
    add("--frames", type=positive, help="repeats of a picture, or frames of a recording (20)")
    add(
        "--divergence",
        choices=["prior", "label"],
        help="what early steps learn: that nothing is known yet, or the label (prior)",
    )
    add("--log", type=Path, metavar="FOLDER", help="write TensorBoard files")


def _add_add(add: Callable[..., object]) -> None:
    add("--length", type=positive, help="steps of a sequence (200)")
    add("--iterations", type=positive, help="batches (10000)")
    add("--stop-below", type=float, help="end once the mean of 100 losses is below")


def _add_run(add: Callable[..., object]) -> None:
    add(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="compile the step of the network (where much is to be learned; of add never)",
    )
    add("--checkpoint", type=Path, metavar="FILE", help="go on from there, and save there")
    add("--json", type=Path, metavar="FILE", help="write what was run and what it gave")


def _add_figure(commands: Any) -> None:
    add = commands.add_parser("figure", help="draw a figure of the paper anew").add_argument
    add("figure", choices=["1c", "1d", "2c", "2e", "3c", "table-1", "table-2"])
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
    add("--seed", type=int, default=0, help="of 2c, and of 3c: which neurons are shown")
    add("--data", type=Path, metavar="FOLDER", help="of 2c: MNIST")
    add("--epochs", type=positive, default=3, help="of 2c: of every network (%(default)s)")
    add("--limit", type=int, default=0, metavar="N", help="of 2c: first N training samples alone")
    add("--results", type=Path, metavar="FOLDER", help="of table-2: what run --json wrote")


def _tasks(arguments: argparse.Namespace, stop: Interrupts) -> int:
    if arguments.command == "list":
        for name, text in TASKS.items():
            print(f"{name:14} {text}")
        return 0
    require_training()
    if arguments.command == "figure":
        from training.tasks.figures.action import draw_figure

        return draw_figure(arguments)
    from training.tasks.action import run

    return run(arguments, stop)
