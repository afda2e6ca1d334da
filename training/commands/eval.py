"""`spyv4-eval`: how well a detector, or a list of saved detections, fits a data set."""

import argparse
from pathlib import Path
from typing import get_args

from spyv4.choices import (
    AGREE_IOU,
    AGREE_MARGIN,
    AGREE_SCORE,
    AUTO,
    AUTO_READS,
    MAX_READS,
    Precision,
    Reads,
)
from spyv4.commandline import (
    SCORE_THRESHOLD_NAMES,
    build_parser,
    positive,
    run_command,
    share,
)
from spyv4.commandline import reads as read_count
from training.choices import (
    EVALUATED_READS,
    EVALUATION_DETECTIONS,
    EVALUATION_IOU,
    EVALUATION_SCORE,
    MEANING,
    VOC_EVAL,
)
from training.commands.answering import answering, require_training
from training.commands.source import add_source

Group = argparse._ArgumentGroup


def main() -> int:
    """The console script, which has nothing to save before its end."""
    with answering("spyv4-eval"):
        return eval_command()


def eval_command(argv: list[str] | None = None) -> int:
    """`spyv4-eval` within a program."""
    parser = build_parser(
        "spyv4-eval",
        "Measure a detector on a data set in the layout of Pascal VOC at several numbers of"
        f"\nreads, or score saved detections.\n\n{MEANING}.",
        "spyv4-eval --voc-root data/VOCdevkit --eval VOC2007:test --reads 1,2,4,8",
    )
    _add_data(parser.add_argument_group("data"))
    _add_detector(parser.add_argument_group("detector"))
    _add_scoring(parser.add_argument_group("scoring"))
    _add_output(parser.add_argument_group("output"))
    return run_command(parser, _eval, argv)


def _eval(arguments: argparse.Namespace) -> int:
    require_training()
    from training.evaluate.action import run

    return run(arguments)


def _add_data(data: Group) -> None:
    add_source(data)
    data.add_argument("--eval", help=f"image sets ({VOC_EVAL}); of --data one key (val)")
    data.add_argument("--limit", type=positive, help="only the first so many pictures")
    data.add_argument("--skip-bad", action="store_true", help="leave out damaged pictures")


def _add_detector(model: Group) -> None:
    model.add_argument(
        "--weights",
        help="name or path of the weights (default: those shipped); with --predictions, "
        "the classes are taken from them (default: VOC's)",
    )
    model.add_argument(
        "--reads",
        type=_read_counts,
        help="numbers of reads to report, and auto for until two reads agree (default: "
        f"{','.join(map(str, EVALUATED_READS))})",
    )
    _add_agreement(model)
    model.add_argument("--runtime", choices=("auto", "torch", "onnx"), default="auto")
    model.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    model.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="float32",
        help="it moves the figures, so that the same one is the default everywhere (%(default)s)",
    )
    model.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="compile the network first, or never (default: take what was compiled before)",
    )
    model.add_argument("--batch-size", type=positive, default=8, help="(default: %(default)s)")
    model.add_argument(
        "--image-size",
        type=positive,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="size that pictures are stretched to (default: that of the weights)",
    )
    _add_thresholds(model)


def _add_agreement(model: Group) -> None:
    for name, kind, usual, meaning in (
        ("--agree-iou", share, AGREE_IOU, "least IoU of two boxes that agree"),
        ("--agree-score", share, AGREE_SCORE, "most that their scores differ by"),
        (
            "--agree-margin",
            share,
            AGREE_MARGIN,
            "boxes less than this above the threshold may come and go",
        ),
        ("--max-reads", positive, AUTO_READS, "reads after which looking ends"),
    ):
        model.add_argument(
            name,
            type=kind,
            default=usual,
            metavar="N" if kind is positive else "A",
            help=f"of auto: {meaning} (default: %(default)s)",
        )


def _add_thresholds(model: Group) -> None:
    model.add_argument(
        *SCORE_THRESHOLD_NAMES,
        type=share,
        default=EVALUATION_SCORE,
        metavar="S",
        help="(default: %(default)s)",
    )
    model.add_argument(
        "--iou-threshold",
        type=share,
        default=EVALUATION_IOU,
        help="of suppression (default: %(default)s)",
    )
    model.add_argument(
        "--max-detections",
        type=positive,
        default=EVALUATION_DETECTIONS,
        help="a picture (default: %(default)s)",
    )


def _add_scoring(scoring: Group) -> None:
    scoring.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE|FOLDER",
        help="score these saved detections; needs the annotations only, neither pictures (but for "
        "the sizes in a YOLO set) nor model",
    )
    scoring.add_argument(
        "--report-classes",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="CLASS,CLASS",
        help="report the mean over these classes too",
    )
    scoring.add_argument(
        "--coco",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="COCO's metrics too (default: yes)",
    )


def _add_output(output: Group) -> None:
    output.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    output.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write a page to look at, with pictures, curves and what they take in energy",
    )
    output.add_argument(
        "--twin-report",
        type=Path,
        metavar="FILE.json",
        help="what --json wrote of the non-spiking twin, to stand beside the network in --report",
    )
    output.add_argument(
        "--save-predictions",
        metavar="FILE|FOLDER/",
        help="write the detections as a JSON list, or as the VOC devkit's files into a folder",
    )
    output.add_argument(
        "--save-reads",
        type=read_count,
        help="number of reads, or auto, whose detections are saved (default: the largest number)",
    )
    output.add_argument(
        "--store-threshold",
        action="store_true",
        help="write the threshold of the best F1, at the number of reads that --weights are looked "
        "with by default, into that file: what is shown unless a user says otherwise",
    )


def _read_counts(text: str) -> tuple[Reads, ...]:
    """`1,2,4,8,auto` as ascending numbers of reads, and `auto` at the end."""
    parts = text.split(",")
    counts = sorted({positive(part) for part in parts if part != AUTO})
    if counts and counts[-1] > MAX_READS:
        raise argparse.ArgumentTypeError(f"reads must be at most {MAX_READS}, not {counts[-1]}")
    return (*counts, AUTO) if AUTO in parts else tuple(counts)
