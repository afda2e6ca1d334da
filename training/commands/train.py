"""`spyv4-train`: train a detector on pictures with boxes."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from spyv4.choices import MODEL_NAMES
from spyv4.commandline import build_parser, run_command, share
from training.choices import DEFAULT_RECIPE, RECIPES, VOC_EVAL, VOC_TRAIN
from training.commands.answering import answering, require_training
from training.commands.source import add_source
from training.interrupts import Interrupts


def main() -> int:
    """The console script."""
    with answering("spyv4-train") as stop:
        return train_command(stop=stop)


def train_command(argv: list[str] | None = None, *, stop: Interrupts | None = None) -> int:
    """`spyv4-train` within a program; `stop` answers Ctrl-C and SIGTERM."""
    return run_command(train_parser(), partial(_train, stop=stop or Interrupts()), argv)


def _train(arguments: argparse.Namespace, stop: Interrupts) -> int:
    require_training()
    from training.action import run

    return run(arguments, stop)


def train_parser() -> argparse.ArgumentParser:
    """The options of `spyv4-train`."""
    parser = build_parser(
        "spyv4-train",
        "Train a spiking detector with FPTT, or another rule, on pictures with boxes in the layout "
        "of\nPascal VOC, COCO or YOLO.",
        "spyv4-train --voc-root data/VOC --model spyv4-nano --epochs 100 --run runs/nano",
    )
    data = parser.add_argument_group("data")
    add_source(data)
    _add_data(data.add_argument)
    _add_run(parser.add_argument_group("run").add_argument)
    settings = parser.add_argument_group("settings").add_argument
    _add_start(settings)
    _add_settings(settings)
    _add_machine(parser.add_argument_group("machine").add_argument)
    return parser


def _add_data(add: Callable[..., object]) -> None:
    add("--train", help=f"training sets, YEAR:SET[,..] ({VOC_TRAIN}); of --data one key (train)")
    add(
        "--extra-voc-root",
        type=Path,
        action="append",
        default=[],
        help="a further folder of training pictures; may be given several times",
    )
    add("--extra-train", default="VOC2012:train", help="its sets (%(default)s)")
    add("--eval", help=f"evaluation sets ({VOC_EVAL}); of --data one key (val)")
    add(
        "--fraction",
        type=share,
        default=1.0,
        help="train on this share of the pictures, drawn by the seed (%(default)s)",
    )
    add("--skip-bad", action="store_true", help="leave out damaged pictures and annotations")


def _add_run(add: Callable[..., object]) -> None:
    add(
        "--run",
        type=Path,
        metavar="FOLDER",
        help="output folder (runs/NAME, after the network; then runs/NAME2 and so on)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on from the checkpoint in --run, or of the run in runs/ that was saved last",
    )
    add(
        "--allow-config-change",
        action="store_true",
        help="resume though settings differ from those that the run was begun with",
    )
    add(
        "--dry-run",
        action="store_true",
        help="say what the data are, how much memory and how long an epoch takes, and stop there",
    )
    add("--save-minutes", type=float, default=5.0, help="between checkpoints (%(default)s)")
    add(
        "--eval-every",
        type=int,
        default=0,
        help="epochs between evaluations, the best of which is kept; 0 for the end alone",
    )
    add(
        "--patience",
        type=int,
        default=0,
        metavar="N",
        help="end after N of these evaluations without a higher mAP; 0 for never",
    )
    add("--no-eval", action="store_true", help="do not evaluate, not even at the end")
    add("--no-tensorboard", action="store_true")


def _add_start(add: Callable[..., object]) -> None:
    add("--config", type=Path, help="TOML file; keys as in the TrainingConfig docstring")
    add(
        "--recipe",
        choices=RECIPES,
        help="settings to start from (training/recipes): the paper's, those of the authors' code, "
        "what trains small networks well on a CPU, or what adapts --init-weights to some hundred "
        f"pictures of other classes ({DEFAULT_RECIPE})",
    )
    add("--model", choices=MODEL_NAMES, help="network (spyv4)")
    add(
        "--init-weights",
        metavar="NAME|FILE",
        help="start from these parameters instead of random ones: shipped weights by name, or a "
        "file; classes that they do not know by name start anew",
    )
    add(
        "--twin",
        action="store_true",
        help="train the non-spiking twin: the same layers with leaky ReLU, one read; its weights "
        "may start a spiking network (--init-weights)",
    )
    add(
        "--teacher",
        type=Path,
        metavar="FILE",
        help="YOLOX as an .onnx file, to learn its view of every picture besides the boxes",
    )
    add(
        "--twin-teacher",
        metavar="NAME|FILE",
        help="weights of the non-spiking twin, to learn its answers and the activations of every "
        "layer besides",
    )


def _add_settings(add: Callable[..., object]) -> None:
    add("--epochs", type=int)
    add("--batch-size", type=int)
    add("--reads", type=int, help="reads of every picture")
    add("--image-size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    add(
        "--anchors",
        choices=["auto"],
        help="find the shapes that boxes are measured against in the training boxes (k-means) "
        "instead of taking the network's; the weights carry them",
    )
    add("--learner", choices=["plain", "fptt", "fptt-k", "bptt", "tbptt"], help="learning rule")
    add("--optimizer", choices=["adagrad", "adam", "adamax", "adamw", "muon", "sgd"])
    add("--learning-rate", type=float)
    add("--schedule", choices=["constant", "cosine", "linear", "step"], help="of the learning rate")
    add(
        "--precision",
        choices=["auto", "bfloat16", "float32"],
        help="of activations; auto takes the faster one here, by measuring (auto)",
    )
    add("--close-mosaic", type=int, metavar="N", help="no mosaics in the last N epochs")
    add("--freeze", choices=["backbone"], help="leave these layers as they are")
    add("--seed", type=int)
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting, in TOML: --set learner.alpha=0.05 --set 'optimizer.name=\"sgd\"'",
    )


def _add_machine(add: Callable[..., object]) -> None:
    add("--workers", type=int, default=1, help="processes that prepare pictures (%(default)s)")
    add(
        "--cache",
        choices=["ram", "disk", "off", "device"],
        default="ram",
        help="keep decoded pictures in memory, those beyond --cache-gib in a file in the run's "
        "folder (disk), or none; or all of them, as squares of 416 pixels or more, in the memory "
        "of the device that trains, which varies them, and asks --teacher, too: for GPUs "
        "(%(default)s)",
    )
    add(
        "--cache-gib",
        type=float,
        help="memory for decoded pictures (a third of this machine's, at most 8)",
    )
    add(
        "--deterministic",
        action="store_true",
        help="the same result to the last bit on the same machine; slower on a GPU",
    )
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--no-compile", action="store_true", help="skip compilation: starts sooner, runs slower")
