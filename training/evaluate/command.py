"""`spyv4-eval`: how well a detector, or a list of saved detections, fits a data set."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spyv4.checkpoint import store_score_threshold
from spyv4.commandline import build_parser, run_command
from spyv4.config import VOC_CLASSES
from spyv4.detector import Detector
from spyv4.errors import ArgumentError
from spyv4.options import ReadOptions
from spyv4.weights import find_weights, load_weights
from training.data.source import DataSource, open_source
from training.data.voc import AnnotatedImage
from training.evaluate.arguments import add_arguments
from training.evaluate.ground_truth import GroundTruth, ground_truth_of
from training.evaluate.prediction_files import read_predictions, write_predictions, write_text
from training.evaluate.predictions import Predictions
from training.evaluate.report import MEANING, to_json, to_table
from training.evaluate.runner import run_detector
from training.evaluate.scores import Scores, score_predictions

DEFAULT_READS = (1, 2, 4, 8)
SAVED = "saved"


def eval_command(argv: list[str] | None = None) -> int:
    """The console script."""
    parser = build_parser(
        "spyv4-eval",
        "Measure a detector on a data set in the layout of Pascal VOC, COCO or YOLO at several"
        f"\nnumbers of reads, or score saved detections.\n\n{MEANING}.",
        "spyv4-eval --voc-root data/VOCdevkit --eval VOC2007:test --reads 1,2,4,8",
    )
    add_arguments(parser)
    return run_command(parser, run, argv)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as `arguments` say, print the table and write the files.

    Raises:
        SPYv4Error: for arguments, data or saved detections that are not right.
        OSError: if a file cannot be read or written.
    """
    reads: tuple[int, ...] = arguments.reads or DEFAULT_READS
    save_reads = arguments.save_reads or max(reads)
    if save_reads not in reads:
        raise ArgumentError(f"--save-reads must be one of --reads {reads}, not {save_reads}")
    save_path = _prepared(arguments.save_predictions)
    json_path = _prepared(arguments.json)
    store_path, store_reads = _store_target(arguments, reads)
    if json_path and json_path.is_dir():
        raise ArgumentError(f"--json must be a file, not the folder {json_path}")
    source = open_source(arguments.voc_root, arguments.data)
    if arguments.predictions:
        result = _score_saved(arguments, source)
    else:
        result = _score_detector(arguments, source, reads, save_reads)
    truth = result.truth
    sets = source.title + (arguments.eval or source.eval_set)
    # Shown before anything is written, so that a full disk costs no figures.
    sys.stdout.write(
        f"{sets}: {len(truth.image_ids)} images, {_how(result)}\n{MEANING}\n\n"
        f"{to_table(result.by_reads, truth, arguments.report_classes)}\n"
    )
    sys.stdout.flush()
    if json_path:
        write_text(json_path, json.dumps(_document(arguments, sets, result), indent=1) + "\n")
    if store_path:
        point = result.by_reads[store_reads].operating_point
        if point is None:
            raise ArgumentError("nothing right was found, so no threshold is stored")
        store_score_threshold(store_path, point.score_threshold)
    if save_path:
        write_predictions(save_path, result.kept, truth.image_ids, truth.class_names)
    return 0


@dataclass(frozen=True)
class _Evaluation:
    """What was measured, with which settings, and the detections to save."""

    truth: GroundTruth
    by_reads: dict[str, Scores]
    kept: Predictions
    settings: dict[str, Any]


def _score_saved(arguments: argparse.Namespace, source: DataSource) -> _Evaluation:
    """Score `--predictions`, as those of the one number of `--reads` if it is given.

    The classes are those of `--weights` where they are given, else the data file's, else VOC's.
    """
    class_names: Sequence[str] = source.class_names or VOC_CLASSES
    if arguments.weights is not None:
        class_names = load_weights(arguments.weights).config.class_names
    images = _annotated(arguments, source, class_names, need_images=False)
    truth = _truth(arguments, images, class_names)
    predictions = read_predictions(arguments.predictions, truth.image_ids, truth.class_names)
    reads = arguments.reads or ()
    if len(reads) > 1:
        raise ArgumentError("saved detections are of one number of reads; give --reads only one")
    scores = score_predictions(predictions, truth, coco=arguments.coco)
    return _Evaluation(
        truth,
        {str(reads[0]) if reads else SAVED: scores},
        predictions,
        {"predictions": str(arguments.predictions)},
    )


def _score_detector(
    arguments: argparse.Namespace, source: DataSource, reads: Sequence[int], save_reads: int
) -> _Evaluation:
    """Run the detector and score what it finds at every number of reads."""
    detector = Detector.load(
        arguments.weights,
        runtime=arguments.runtime,
        device=arguments.device,
        precision=arguments.precision,
        compile=arguments.compile,
        image_size=tuple(arguments.image_size) if arguments.image_size else None,
    )
    class_names = detector.config.class_names
    images = _annotated(arguments, source, class_names, need_images=True)
    truth = _truth(arguments, images, class_names)
    results = run_detector(
        detector,
        images,
        reads,
        options=ReadOptions(
            score_threshold=arguments.score_threshold,
            iou_threshold=arguments.iou_threshold,
            max_detections=arguments.max_detections,
        ),
        batch_size=arguments.batch_size,
    )
    by_reads = {
        str(count): score_predictions(
            result.predictions,
            truth,
            coco=arguments.coco,
            firing_rate=result.firing_rate,
            ms_per_image=result.ms_per_image,
        )
        for count, result in results.items()
    }
    settings = {
        "weights": find_weights(arguments.weights).name,
        "runtime": detector.runtime.description,
        "image_size": detector.image_size,
        "batch_size": arguments.batch_size,
        "score_threshold": arguments.score_threshold,
        "iou_threshold": arguments.iou_threshold,
        "max_detections": arguments.max_detections,
    }
    return _Evaluation(truth, by_reads, results[save_reads].predictions, settings)


def _annotated(
    arguments: argparse.Namespace,
    source: DataSource,
    class_names: Sequence[str],
    *,
    need_images: bool,
) -> list[AnnotatedImage]:
    """The annotated pictures to evaluate on."""
    images = source.read(
        arguments.eval or source.eval_set,
        class_names,
        need_images=need_images,
        skip_bad=arguments.skip_bad,
    )
    return images[: arguments.limit]


def _truth(
    arguments: argparse.Namespace, images: Sequence[AnnotatedImage], class_names: Sequence[str]
) -> GroundTruth:
    """The ground truth; refuses classes to report that there are not."""
    for name in arguments.report_classes:
        if name not in class_names:
            raise ArgumentError(
                f"--report-classes has unknown class {name!r}; known: {', '.join(class_names)}"
            )
    return ground_truth_of(images, class_names)


def _prepared(given: str | Path | None) -> Path | None:
    """A path to write to, its folder made, before hours of work; a final slash means a folder."""
    if not given:
        return None
    path = Path(given)
    folder = path if str(given).endswith("/") else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    return path


def _how(result: _Evaluation) -> str:
    """Which network was run how, since its precision moves the figures; or which detections."""
    settings = result.settings
    if "runtime" in settings:
        return f"{settings['weights']}: {settings['runtime']}"
    return str(settings["predictions"])


def _store_target(arguments: argparse.Namespace, reads: Sequence[int]) -> tuple[Path | None, str]:
    """The file that gets the best threshold, if one does, and at which number of reads."""
    if not arguments.store_threshold:
        return None, ""
    path = Path(arguments.weights or "")
    if path.suffix != ".safetensors" or arguments.predictions:
        raise ArgumentError("--store-threshold needs --weights FILE.safetensors, and pictures")
    usual = load_weights(path).config.reads
    if usual not in reads:
        raise ArgumentError(f"--store-threshold needs {usual} among --reads: {path} is used so")
    return path, str(usual)


def _document(arguments: argparse.Namespace, sets: str, result: _Evaluation) -> dict[str, Any]:
    """Everything that was measured, and how."""
    return {
        "eval": sets,
        "images": len(result.truth.image_ids),
        "boxes_per_class": result.truth.boxes_per_class,
        "meaning": MEANING.replace("\n", " "),
        "settings": result.settings,
        "by_reads": {
            name: to_json(scores, arguments.report_classes)
            for name, scores in result.by_reads.items()
        },
    }
