"""`spyv4-tasks`: the paper's tasks on sequences, one command each."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from spyv4.commandline import build_parser, positive, run_command
from spyv4.files import write_atomically
from spyv4.validation import from_mapping, to_mapping
from training.tasks.add import AddConfig, run_add


def tasks_command(argv: list[str] | None = None) -> int:
    """The console script."""
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
    run.add_argument("--seed", type=int)
    run.add_argument("--json", type=Path, metavar="FILE", help="write configuration and losses")
    return run_command(parser, _tasks, argv)


def _tasks(arguments: argparse.Namespace) -> int:
    if arguments.command == "list":
        print("add    the sum of two marked numbers of a sequence (paper, figure 2)")
        return 0
    config = _config(arguments)
    with tqdm(total=config.iterations, unit="batch", disable=None) as bar:

        def report(_iteration: int, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            bar.update()

        result = run_add(config, report)
    print(f"final loss {result.final_loss:.4f}, first below 0.01: {result.first_below_good}")
    if arguments.json is not None:
        document = {
            "config": to_mapping(config),
            "final_loss": result.final_loss,
            "first_below_0.01": result.first_below_good,
            "losses": [round(loss, 6) for loss in result.losses],
        }
        text = json.dumps(document) + "\n"
        write_atomically(arguments.json, lambda path: path.write_text(text, encoding="utf-8"))
    return 0


def _config(arguments: argparse.Namespace) -> AddConfig:
    """The defaults, changed by what was said."""
    names = ("neuron", "length", "iterations", "learning_rate", "seed")
    said = {name: getattr(arguments, name) for name in names}
    values = to_mapping(AddConfig()) | {k: v for k, v in said.items() if v is not None}
    learner = {"kind": arguments.learner, "updates": arguments.updates, "alpha": arguments.alpha}
    values["learner"] |= {key: value for key, value in learner.items() if value is not None}
    return from_mapping(AddConfig, values)
