"""What `spyv4-eval` does."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spyv4.checkpoint import store_score_threshold
from spyv4.choices import AUTO, Reads
from spyv4.config import ModelConfig
from spyv4.detector import Detector
from spyv4.errors import ArgumentError
from spyv4.options import ReadOptions
from spyv4.validation import to_mapping
from spyv4.weights import find_weights, load_weights
from training.choices import EVALUATED_READS, MEANING
from training.data.source import DataSource, open_source
from training.data.voc import AnnotatedImage
from training.evaluate.evaluation import Evaluation, evaluate_detector
from training.evaluate.findings import findings_of, read_twin
from training.evaluate.ground_truth import ground_truth_of
from training.evaluate.prediction_files import read_predictions, write_predictions, write_text
from training.evaluate.report import to_json, to_table
from training.evaluate.scores import score_predictions
from training.report.findings import TwinFindings
from training.report.gather import facts
from training.report.page import Report, write_report

SAVED = "saved"
RULE = ("agree_iou", "agree_score", "agree_margin", "max_reads")
"""The options that are parameters of `auto`."""


def run(arguments: argparse.Namespace) -> int:
    """Evaluate as `arguments` say, print the table and write the files.

    Raises:
        SPYv4Error: for arguments, data or saved detections that are not right.
        OSError: if a file cannot be read or written.
    """
    reads: tuple[Reads, ...] = arguments.reads or EVALUATED_READS
    save_reads = arguments.save_reads or max(_numbers(reads), default=AUTO)
    if save_reads not in reads:
        raise ArgumentError(f"--save-reads must be one of --reads {reads}, not {save_reads}")
    save_path = _prepared(arguments.save_predictions)
    json_path = _prepared_file(arguments.json, "--json")
    report_path = _prepared_file(arguments.report, "--report")
    if arguments.twin_report and not report_path:
        raise ArgumentError("--twin-report stands in a page; add --report FILE.html")
    store_path, store_reads = _store_target(arguments, reads)
    source = open_source(arguments.voc_root, arguments.data)
    if arguments.predictions:
        result = _score_saved(arguments, source)
    else:
        result = _score_detector(arguments, source, reads)
    evaluation = result.evaluation
    truth = evaluation.truth
    # Shown before anything is written, so that a full disk costs no figures.
    sys.stdout.write(
        f"{result.data}: {len(truth.image_ids)} images, {_how(result)}\n{MEANING}\n\n"
        f"{to_table(evaluation.scores, truth, arguments.report_classes)}\n"
    )
    sys.stdout.flush()
    if json_path:
        write_text(json_path, json.dumps(_document(arguments, result), indent=1) + "\n")
    if store_path:
        point = evaluation.scores[store_reads].operating_point
        if point is None:
            raise ArgumentError("nothing right was found, so no threshold is stored")
        store_score_threshold(store_path, point.score_threshold)
    if save_path:
        key = evaluation.usual if arguments.predictions else str(save_reads)
        kept = evaluation.predictions[key]
        write_predictions(save_path, kept, truth.image_ids, truth.class_names)
    if report_path:
        _write_report(report_path, arguments, result)
    return 0


@dataclass(frozen=True)
class _Result:
    """What was measured, on which data, of which network, and with which settings."""

    evaluation: Evaluation
    data: str
    config: ModelConfig
    settings: dict[str, Any]


def _score_saved(arguments: argparse.Namespace, source: DataSource) -> _Result:
    """Score `--predictions`, as those of the one number of `--reads` if it is given.

    The classes are those of `--weights` where they are given, else the data file's, else VOC's.
    """
    config = ModelConfig()
    if source.class_names:
        config = ModelConfig(class_names=source.class_names)
    if arguments.weights is not None:
        config = load_weights(arguments.weights).config
    images = _annotated(arguments, source, config.class_names, need_images=False)
    truth = ground_truth_of(images, config.class_names)
    predictions = read_predictions(arguments.predictions, truth.image_ids, truth.class_names)
    reads = arguments.reads or ()
    if len(reads) > 1:
        raise ArgumentError("saved detections are of one number of reads; give --reads only one")
    key = str(reads[0]) if reads else SAVED
    scores = score_predictions(predictions, truth, coco=arguments.coco)
    return _Result(
        Evaluation(images, truth, {key: predictions}, {key: scores}, key),
        _data(arguments, source),
        config,
        {"predictions": str(arguments.predictions)},
    )


def _numbers(reads: Sequence[Reads]) -> list[int]:
    """Those that are no `auto`."""
    return [count for count in reads if count != AUTO]


def _score_detector(
    arguments: argparse.Namespace, source: DataSource, reads: Sequence[Reads]
) -> _Result:
    """Run the detector and score what it finds at every number of reads."""
    rule = {name: getattr(arguments, name) for name in RULE}
    auto = {AUTO: ReadOptions(reads=AUTO, **rule)} if AUTO in reads else {}
    detector = Detector.load(
        arguments.weights,
        runtime=arguments.runtime,
        device=arguments.device,
        precision=arguments.precision,
        compile=arguments.compile,
        image_size=tuple(arguments.image_size) if arguments.image_size else None,
    )
    evaluation = evaluate_detector(
        detector,
        _annotated(arguments, source, detector.config.class_names, need_images=True),
        _numbers(reads),
        auto=auto,
        usual=detector.config.reads,
        options=ReadOptions(
            score_threshold=arguments.score_threshold,
            iou_threshold=arguments.iou_threshold,
            max_detections=arguments.max_detections,
        ),
        batch_size=arguments.batch_size,
        coco=arguments.coco,
    )
    settings = {
        "weights": find_weights(arguments.weights).name,
        "runtime": detector.runtime.description,
        "image_size": detector.image_size,
        "batch_size": arguments.batch_size,
        "score_threshold": arguments.score_threshold,
        "iou_threshold": arguments.iou_threshold,
        "max_detections": arguments.max_detections,
    } | (rule if auto else {})
    return _Result(evaluation, _data(arguments, source), detector.config, settings)


def _annotated(
    arguments: argparse.Namespace,
    source: DataSource,
    class_names: Sequence[str],
    *,
    need_images: bool,
) -> list[AnnotatedImage]:
    """The annotated pictures to evaluate on; refuses at once what does not fit them."""
    for name in arguments.report_classes:
        if name not in class_names:
            raise ArgumentError(
                f"--report-classes has unknown class {name!r}; known: {', '.join(class_names)}"
            )
    images = source.read(
        arguments.eval or source.eval_set,
        class_names,
        need_images=need_images,
        skip_bad=arguments.skip_bad,
    )[: arguments.limit]
    _twin(arguments, _data(arguments, source), len(images))
    return images


def _data(arguments: argparse.Namespace, source: DataSource) -> str:
    """What is evaluated on, for people."""
    return source.title + (arguments.eval or source.eval_set)


def _twin(arguments: argparse.Namespace, data: str, images: int) -> TwinFindings | None:
    """What `--twin-report` says."""
    path: Path | None = arguments.twin_report
    return None if path is None else read_twin(path, data, images)


def _prepared(given: str | Path | None) -> Path | None:
    """A path to write to, its folder made, before hours of work; a final slash means a folder."""
    if not given:
        return None
    path = Path(given)
    folder = path if str(given).endswith("/") else path.parent
    folder.mkdir(parents=True, exist_ok=True)
    return path


def _prepared_file(given: str | Path | None, option: str) -> Path | None:
    """Likewise of what can be no folder."""
    path = _prepared(given)
    if path and path.is_dir():
        raise ArgumentError(f"{option} must be a file, not the folder {path}")
    return path


def _how(result: _Result) -> str:
    """Which network was run how, since its precision moves the figures; or which detections."""
    settings = result.settings
    if "runtime" in settings:
        return f"{settings['weights']}: {settings['runtime']}"
    return str(settings["predictions"])


def _store_target(arguments: argparse.Namespace, reads: Sequence[Reads]) -> tuple[Path | None, str]:
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


def _document(arguments: argparse.Namespace, result: _Result) -> dict[str, Any]:
    """Everything that was measured, and how."""
    return {
        "eval": result.data,
        "images": len(result.evaluation.images),
        "boxes_per_class": result.evaluation.truth.boxes_per_class,
        "meaning": MEANING.replace("\n", " "),
        "settings": result.settings,
        "by_reads": {
            name: to_json(scores, arguments.report_classes)
            for name, scores in result.evaluation.scores.items()
        },
    }


def _write_report(path: Path, arguments: argparse.Namespace, result: _Result) -> None:
    """The page of `--report`."""
    evaluation = result.evaluation
    twin = _twin(arguments, result.data, len(evaluation.images))
    measured = result.settings.get("weights") or arguments.predictions.name
    write_report(
        path,
        Report(
            title=f"{measured} on {result.data}",
            facts=facts() | {name: str(value) for name, value in result.settings.items()},
            configuration=to_mapping(result.config),
            class_names=result.config.class_names,
            pictures={result.data: evaluation.images},
            findings=findings_of(evaluation, result.config, result.data, twin),
        ),
    )
