r"""When to stop looking: rules of `auto` beside fixed numbers of reads, all from one run.

    python -m training.benchmarks.agreement --voc-root data/VOC --eval VOC2007:trainval \
        --json docs/anytime.json

Choose the rule on other pictures than those that it is then measured on.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spyv4.choices import AUTO
from spyv4.commandline import build_parser, positive, run_command, share
from spyv4.detector import Detector
from spyv4.options import ReadOptions
from training.benchmarks.figures import write_json
from training.commands.source import add_source
from training.data.source import open_source
from training.evaluate.evaluation import evaluate_detector


def rules(
    ious: Sequence[float], scores: Sequence[float], margins: Sequence[float], max_reads: int
) -> dict[str, ReadOptions]:
    """All combinations, by what the table calls them."""
    return {
        f"IoU {iou:g}, score {score:g}, margin {margin:g}": ReadOptions(
            AUTO, agree_iou=iou, agree_score=score, agree_margin=margin, max_reads=max_reads
        )
        for iou, score, margin in itertools.product(ious, scores, margins)
    }


def run(arguments: argparse.Namespace) -> None:
    """Look at all pictures once, print the table and write the figures."""
    detector = Detector.load(arguments.weights, precision="float32")
    source = open_source(arguments.voc_root, arguments.data)
    names = detector.config.class_names
    images = source.read(arguments.eval or source.eval_set, names, need_images=True)
    auto = rules(arguments.iou, arguments.score, arguments.margin, arguments.max_reads)
    reads = range(1, arguments.max_reads + 1)
    result = evaluate_detector(detector, images[: arguments.limit], reads, auto=auto)
    rows: list[dict[str, Any]] = [
        {"reads": key, "mean_reads": scores.mean_reads, "map": scores.mean_ap()}
        for key, scores in result.scores.items()
    ]
    print(f"{len(result.images)} pictures\n| reads | on average | mAP, % |\n|---|---|---|")
    for row in rows:
        found = "-" if row["map"] is None else f"{100 * row['map']:.2f}"
        print(f"| {row['reads']} | {row['mean_reads']:.2f} | {found} |")
    if arguments.json is not None:
        write_json(arguments.json, {"images": len(result.images), "rows": rows})


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "agreement",
        "Rules of reads=auto beside fixed numbers of reads: mean reads and mAP.",
        "python -m training.benchmarks.agreement --voc-root data/VOC --eval VOC2007:trainval",
    )
    add_source(parser.add_argument_group("data"))
    add = parser.add_argument
    add("--eval", help="image sets; of --data one key")
    add("--limit", type=positive, help="only the first so many pictures")
    add("--weights", help="name or file (the shipped default)")
    add("--iou", type=_shares, default=(0.5, 0.7), metavar="A,B", help="of agree_iou")
    add("--score", type=_shares, default=(0.1, 0.2), metavar="A,B", help="of agree_score")
    add("--margin", type=_shares, default=(0.0, 0.1, 0.2), metavar="A,B", help="of agree_margin")
    add("--max-reads", type=positive, default=ReadOptions().max_reads, help="(%(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the figures there")
    return run_command(parser, run, argv)


def _shares(text: str) -> tuple[float, ...]:
    """Numbers between commas, as an argument's type."""
    return tuple(share(part) for part in text.split(","))


if __name__ == "__main__":
    sys.exit(main())
