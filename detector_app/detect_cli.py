"""The command `spyv4-detect`, which needs no extra."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2

from detector_app.settings import add_model_options, load_settings
from detector_app.sources import IMAGE_SUFFIXES
from spyv4.commandline import EXIT_OK, EXIT_USAGE, build_parser, run_command, share
from spyv4.config import MAX_READS
from spyv4.errors import ArgumentError, ImageError
from spyv4.options import ReadOptions
from spyv4.preprocess import read_image


def detect_command(argv: list[str] | None = None) -> int:
    """`spyv4-detect`: find things in pictures."""
    parser = build_parser(
        "spyv4-detect",
        "Find things in pictures; write annotated copies and JSON.",
        "spyv4-detect photos/ holiday.jpg --output found --json found/boxes.json",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="pictures or folders")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for annotated copies (default: detected)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all boxes to FILE")
    parser.add_argument(
        "--iou-threshold",
        type=share,
        default=ReadOptions().iou_threshold,
        metavar="I",
        help="boxes of a class that overlap more are one, 0..1 (%(default)s)",
    )
    add_model_options(parser)
    return run_command(parser, _detect, argv)


def _detect(arguments: argparse.Namespace) -> int:
    pictures, problems = _pictures(arguments.paths)
    output = arguments.output or Path("detected")
    targets = _targets(pictures, output)
    if arguments.json is not None and arguments.json.resolve() in {p.resolve() for p in pictures}:
        raise ArgumentError(f"--json {arguments.json} would overwrite a picture; name another file")
    settings = load_settings(vars(arguments) | {"max_reads": MAX_READS})
    detector = settings.load_detector()
    output.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for picture, target in zip(pictures, targets, strict=True):
        try:
            image = read_image(picture)
        except (ImageError, OSError) as error:
            problems.append(str(error))
            continue
        result = detector.detect(
            image,
            reads=settings.reads,
            score_threshold=settings.score_threshold,
            iou_threshold=arguments.iou_threshold,
        )
        found[str(picture)] = result.to_list()
        _, encoded = cv2.imencode(target.suffix, result.plot(image))
        target.write_bytes(encoded.tobytes())
        summary = ", ".join(
            f"{n} {s:.2f}" for n, s in zip(result.names, result.scores, strict=True)
        )
        print(f"{picture} -> {target}: {summary or 'nothing'}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for problem in problems:
        print(f"spyv4-detect: error: {problem}", file=sys.stderr)
    return EXIT_USAGE if problems else EXIT_OK


def _pictures(paths: list[Path]) -> tuple[list[Path], list[str]]:
    """The pictures that `paths` name, folders opened, and what is wrong with the others."""
    pictures: list[Path] = []
    problems: list[str] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            pictures += inside
            if not inside:
                problems.append(f"{path} holds no pictures")
        elif path.exists():
            pictures.append(path)
        else:
            problems.append(f"{path} does not exist; check the name")
    return list(dict.fromkeys(pictures)), problems


def _targets(pictures: list[Path], output: Path) -> list[Path]:
    """Where the annotated copies go: no two in one place, and none over an input."""
    inputs = {picture.resolve() for picture in pictures}
    targets: list[Path] = []
    for picture in pictures:
        target, number = output / f"{picture.stem}.png", 1
        while target in targets or target.resolve() in inputs:
            number += 1
            target = output / f"{picture.stem}-{number}.png"
        targets.append(target)
    return targets
