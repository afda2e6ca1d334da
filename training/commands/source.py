"""Where annotated pictures come from, as an option."""

import argparse
from pathlib import Path


def add_source(data: argparse._ArgumentGroup) -> None:
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
