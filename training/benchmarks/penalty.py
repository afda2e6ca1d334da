r"""How strong FPTT's regulariser is beside the task, by optimiser (docs/fptt.md).

    python -m training.benchmarks.penalty --voc-root data/VOC --json docs/penalty.json \
        --figure docs/penalty.png

Trains the nano network on small pictures for `--batches` with each optimiser and alpha, and notes
||gradient of the penalty|| / ||gradient of the task|| at the last read of every batch. Beside it, a
parameter with a constant gradient under Adam: how far it moves a step.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from spyv4.commandline import build_parser, positive, run_command
from spyv4.config import model_preset
from spyv4.network.spyv4 import SPYv4
from spyv4.validation import from_mapping, to_mapping
from training.benchmarks.figures import curve, figure, write_json
from training.config import LearnerConfig, TrainingConfig
from training.data import LoaderOptions, TrainingLoader, read_split
from training.learning import Learner
from training.loop import Trainer
from training.resolve import recipe
from training.run_state import RunState
from training.runs import RunFolder

RATES = {"adagrad": 1e-3, "adamw": 1e-3, "sgd": 1e-2}
ALPHAS = (0.01, 0.1, 1.0)
SIDE, BATCH, READS = 96, 8, 4
GRADIENTS = tuple(10.0**exponent for exponent in (-5.0, -4.5, -4.0, -3.5, -3.0, -2.5, -2.0))
ADAM_RATE, ADAM_STEPS = 3e-3, 1500


def ratios(arguments: argparse.Namespace, optimizer: str, alpha: float) -> list[float]:
    """Penalty over task gradient, one value a batch."""
    values = recipe("nano")
    model = model_preset("spyv4-nano").resized((SIDE, SIDE))
    values["model"] = to_mapping(model) | values["model"] | {"reads": READS}
    values |= {"batch_size": BATCH, "reads": READS, "min_reads": 0, "precision": "float32"}
    values["learner"] = {"kind": "fptt", "alpha": alpha, "gradient_clip": 1.0}
    values["optimizer"] = {"name": optimizer, "learning_rate": RATES[optimizer]}
    config = from_mapping(TrainingConfig, values)
    torch.manual_seed(0)
    images = read_split(arguments.voc_root, arguments.train, config.model.class_names)
    loader = TrainingLoader(
        images[: BATCH * arguments.batches], config, LoaderOptions(cache_side=2 * SIDE)
    )
    state = RunState(SPYv4(config.model), loader, config)
    state.train_mode()
    trainer = Trainer(state, loader, RunFolder(Path()), compile_step=False)
    found = []
    for batch in loader.batches(0):
        seen = trainer.train_batch(batch, observe=True).observation
        if seen is not None:
            found.append(float(seen.penalty_gradient / seen.task_gradient))
    return found


def steps_under_adam(alpha: float | None) -> list[float]:
    """How far a parameter moves a step under Adam, for each constant gradient in `GRADIENTS`.

    Args:
        alpha: of FPTT; None for no regulariser.
    """
    gradient = torch.tensor(GRADIENTS)
    weight = torch.nn.Parameter(torch.zeros(len(GRADIENTS)))
    learner = Learner(
        [weight],
        torch.optim.Adam([weight], lr=ADAM_RATE),
        LearnerConfig(kind="plain", gradient_clip=0)
        if alpha is None
        else LearnerConfig(kind="fptt", alpha=alpha, gradient_clip=0),
    )
    start = weight.detach().clone()
    for step in range(2 * ADAM_STEPS):
        if step == ADAM_STEPS:  # what comes before is on the way to a steady motion
            start = weight.detach().clone()
        learner.sequence(lambda _, state: (weight, state), lambda w, _: (w * gradient).sum(), (), 1)
    moved: list[float] = ((start - weight.detach()) / ADAM_STEPS).tolist()
    return moved


def draw(
    found: dict[str, dict[float, list[float]]], adam: dict[str, list[float]], path: Path
) -> None:
    """Four panels: the ratio by optimiser, and the steps of Adam."""
    with figure(path, 4, width=3.6, height=3.6) as axes:
        for ax, (optimizer, by_alpha) in zip(axes, found.items(), strict=False):
            for index, (alpha, values) in enumerate(by_alpha.items()):
                curve(ax, range(1, len(values) + 1), _smooth(values), index, f"alpha {alpha}")
            ax.set(xlabel="batch", yscale="log", ylim=(1e-5, 10))
            ax.set_title(f"{optimizer}, learning rate {RATES[optimizer]:g}", fontsize=9)
            for line in ax.lines:
                line.set_marker("")
        axes[0].set_ylabel("gradient of the penalty / of the task")
        axes[0].legend(frameon=False, fontsize=8)
        last = axes[3]
        for index, (name, moved) in enumerate(adam.items()):
            curve(last, GRADIENTS, moved, index, name)
        last.set(xscale="log", yscale="log", xlabel="constant gradient of a parameter")
        last.set_ylabel("how far it moves a step")
        last.set_title(f"Adam, learning rate {ADAM_RATE:g}", fontsize=9)
        last.legend(frameon=False, fontsize=8)


def _smooth(values: list[float], window: int = 10) -> list[float]:
    """Means of what came before."""
    starts = [max(0, end - window) for end in range(1, len(values) + 1)]
    return [sum(values[s:e]) / (e - s) for e, s in enumerate(starts, start=1)]


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "training.benchmarks.penalty",
        "Measure how strong FPTT's regulariser is beside the task.",
        "python -m training.benchmarks.penalty --voc-root data/VOC --json penalty.json",
    )
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--train", default="VOC2007:trainval,VOC2012:trainval")
    parser.add_argument("--batches", type=positive, default=150)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    return run_command(parser, _main, argv)


def _main(arguments: argparse.Namespace) -> int:
    found = {name: {alpha: ratios(arguments, name, alpha) for alpha in ALPHAS} for name in RATES}
    adam = {"no penalty": steps_under_adam(None)}
    adam |= {f"alpha {alpha}": steps_under_adam(alpha) for alpha in (0.05, 0.5)}
    document: dict[str, Any] = {"ratio": found, "gradients": GRADIENTS, "adam_step": adam}
    write_json(arguments.json, document)
    if arguments.figure is not None:
        draw(found, adam, arguments.figure)
    for name, by_alpha in found.items():
        for alpha, values in by_alpha.items():
            places = [index for index in (0, 9, 29, 99, len(values) - 1) if index < len(values)]
            shown = ", ".join(f"batch {index + 1} {values[index]:.2g}" for index in places)
            print(f"{name:8} alpha {alpha:<5} {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
