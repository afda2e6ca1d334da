"""`spyv4-label`: what a detector finds, as annotations to train on."""

import argparse
from pathlib import Path

from spyv4.choices import IOU_THRESHOLD
from spyv4.commandline import build_parser, positive, run_command, share
from training.choices import ALL_CLASSES, LAYOUTS
from training.commands.answering import answering, require_training


def main() -> int:
    """The console script, which writes at its end alone."""
    with answering("spyv4-label"):
        return label_command()


def label_command(argv: list[str] | None = None) -> int:
    """`spyv4-label` within a program."""
    parser = build_parser(
        "spyv4-label",
        "Label pictures by a detector: write what it finds as annotations that spyv4-train and\n"
        "others read. What it misses is background to whoever learns from them: look them over.",
        "spyv4-label photos/ --teacher yolox_nano.onnx --output data/labelled --format voc",
    )
    parser.add_argument(
        "pictures",
        nargs="+",
        metavar="PATH",
        help="pictures, folders with those below them, or patterns such as 'photos/**/*.jpg'",
    )
    _add_detector(parser.add_argument_group("detector"))
    _add_output(parser.add_argument_group("output"))
    return run_command(parser, _label, argv)


def _add_detector(detector: argparse._ArgumentGroup) -> None:
    either = detector.add_mutually_exclusive_group(required=True)
    either.add_argument("--weights", metavar="NAME|FILE", help="of this project's detectors")
    either.add_argument(
        "--teacher", type=Path, metavar="FILE", help="YOLOX of COCO's classes as an .onnx file"
    )
    add = detector.add_argument
    add("--reads", type=positive, help="of every picture (that of the weights)")
    add(
        "--classes",
        metavar="NAME,NAME",
        help=f"look for these alone, by VOC's or COCO's names; {ALL_CLASSES} for all that the "
        "detector knows (of a teacher VOC's, else all)",
    )
    add(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="that pictures are brought to (the detector's own)",
    )
    add(
        "--iou-threshold",
        type=share,
        default=IOU_THRESHOLD,
        metavar="I",
        help="boxes of a class that overlap more are one, 0..1 (%(default)s)",
    )
    add("--device", choices=["auto", "cpu", "cuda"], default="auto", help="of --weights")


def _add_output(output: argparse._ArgumentGroup) -> None:
    add = output.add_argument
    add("--output", type=Path, required=True, metavar="DIR", help="a folder that is new or empty")
    add("--format", choices=LAYOUTS, default="voc", help="the layout (%(default)s)")
    add(
        "--min-score",
        type=share,
        default=0.4,
        metavar="S",
        help="least score of an object, 0..1 (%(default)s)",
    )
    add(
        "--difficult-score",
        type=share,
        default=0.2,
        metavar="S",
        help="least score of what may be an object and is neither learned nor counted: marked "
        "difficult in VOC's layout, iscrowd in COCO's, left out of YOLO's, which has no such thing "
        "(%(default)s)",
    )
    add("--copy", action="store_true", help="copy the pictures instead of linking to them")
    add("--skip-bad", action="store_true", help="name damaged pictures and go on without them")


def _label(arguments: argparse.Namespace) -> None:
    require_training()
    from training.labelling.action import label

    label(arguments)
