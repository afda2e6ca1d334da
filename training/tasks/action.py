"""What `spyv4-tasks` does."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from spyv4.files import write_atomically
from spyv4.validation import from_mapping, to_mapping
from training.tasks.add import AddConfig, AddResult, AddRun, run_add


def run_task(arguments: argparse.Namespace) -> int:
    """Run the task as `arguments` say, or list the tasks."""
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
