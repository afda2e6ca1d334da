"""The options of `spyv4-eval`."""

import argparse
from pathlib import Path
from typing import get_args

from spyv4.commandline import SCORE_THRESHOLD_NAMES, positive, share
from spyv4.commandline import reads as read_count
from spyv4.config import MAX_READS
from spyv4.options import AUTO, ReadOptions, Reads
from spyv4.runtime.torch_runtime import Precision
from training.data.source import VOC_EVAL
from training.evaluate.runner import EVALUATION

Group = argparse._ArgumentGroup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spyv4-eval`."""
    _add_data(parser.add_argument_group("data"))
    _add_detector(parser.add_argument_group("detector"))
    _add_scoring(parser.add_argument_group("scoring"))
    _add_output(parser.add_argument_group("output"))


def add_source(data: Group) -> None:
    """The options that `open_source` takes, of which one must be given."""
    either = data.add_mutually_exclusive_group(required=True)
    either.add_argument("--voc-root", type=Path, help="holds VOC2007/VOC2012, or its parent")
    either.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="TOML or YAML that names train, val and classes: VOC, COCO JSON, or YOLO as in "
        "Ultralytics' data.yaml",
    )


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
        help="numbers of reads to report, and auto for until two reads agree (default: 1,2,4,8)",
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
    model.add_argument("--compile", action="store_true", help="compile the network first (torch)")
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
    for name, kind, meaning in (
        ("agree_iou", share, "least IoU of two boxes that agree"),
        ("agree_score", share, "most that their scores differ by"),
        ("agree_margin", share, "boxes less than this above the threshold may come and go"),
        ("max_reads", positive, "reads after which looking ends"),
    ):
        model.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=getattr(ReadOptions(), name),
            metavar="N" if kind is positive else "A",
            help=f"of auto: {meaning} (default: %(default)s)",
        )


def _add_thresholds(model: Group) -> None:
    model.add_argument(
        *SCORE_THRESHOLD_NAMES,
        type=share,
        default=EVALUATION.score_threshold,
        metavar="S",
        help="(default: %(default)s)",
    )
    model.add_argument(
        "--iou-threshold",
        type=share,
        default=EVALUATION.iou_threshold,
        help="of suppression (default: %(default)s)",
    )
    model.add_argument(
        "--max-detections",
        type=positive,
        default=EVALUATION.max_detections,
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
