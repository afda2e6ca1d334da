"""`spyv4-tasks`: the paper's tasks on sequences, one command each."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from spyv4.commandline import build_parser, positive, run_command
from spyv4.files import write_atomically
from spyv4.validation import from_mapping, to_mapping
from training.tasks.add import AddConfig, AddResult, AddRun, run_add


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
    if arguments.command == "list":
        print("add    the sum of two marked numbers of a sequence (paper, figure 2)")
        return 0
    config = _config(arguments)
    with tqdm(total=config.iterations, unit="batch", disable=None) as bar:

        def report(run: AddRun) -> None:
            bar.set_postfix_str(f"loss {run.recent:.4f}", refresh=False)
            bar.update(len(run.losses) - bar.n)

        result = run_add(
            config, report, checkpoint=arguments.checkpoint, compile_step=arguments.compile
        )
    print(f"final loss {result.final_loss:.4f}, first below 0.01: {result.first_below_good}")
    if arguments.json is not None:
        write_result(config, result, arguments.json)
    return 0


def write_result(config: AddConfig, result: AddResult, path: Path) -> None:
    """Write what a run was and gave, as JSON."""
    document = {
        "config": to_mapping(config),
        "final_loss": result.final_loss,
        "first_below_0.01": result.first_below_good,
        "losses": [round(loss, 6) for loss in result.losses],
    }
    text = json.dumps(document) + "\n"
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def _config(arguments: argparse.Namespace) -> AddConfig:
    """The defaults, changed by what was said."""
    names = ("neuron", "length", "iterations", "learning_rate", "stop_below", "seed")
    said = {name: getattr(arguments, name) for name in names}
    values = to_mapping(AddConfig()) | {k: v for k, v in said.items() if v is not None}
    learner = {"kind": arguments.learner, "updates": arguments.updates, "alpha": arguments.alpha}
    learner["adopt_running_mean"] = arguments.adopt or None
    values["learner"] |= {key: value for key, value in learner.items() if value is not None}
    return from_mapping(AddConfig, values)
