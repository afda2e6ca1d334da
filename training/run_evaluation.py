"""The evaluation of a run between its epochs and at its end."""

import copy
from pathlib import Path

from spyv4.checkpoint import store_score_threshold
from spyv4.detector import Detector
from training.data import AnnotatedImage
from training.engine import Trainer
from training.evaluate.ground_truth import ground_truth_of
from training.evaluate.runner import run_detector
from training.evaluate.scores import Scores, score_predictions
from training.interrupts import Interrupts
from training.report.log import RunLog


def evaluate(
    trainer: Trainer, images: list[AnnotatedImage], log: RunLog, stop: Interrupts
) -> Scores:
    """Measure what would be saved now, at the number of reads trained for, and say it.

    Args:
        trainer: the run; its checkpoint is written already.
        images: the pictures to measure it on.
        log: receives and shows the figures.
        stop: answers Ctrl-C and SIGTERM, which end the process at once here.

    Returns:
        All figures.
    """
    model, reads = trainer.config.model, trainer.config.reads
    with stop.at_once("evaluating"):
        with trainer.evaluated():
            detector = Detector.from_model(
                copy.deepcopy(trainer.model),
                device=trainer.device.type,
                precision=trainer.config.precision,  # always the same, as a measured one is not
            )
        result = run_detector(detector, images, [reads])[reads]
        scores = score_predictions(
            result.predictions, ground_truth_of(images, model.class_names), coco=False
        )
    mean_ap = scores.mean_ap()
    if mean_ap is not None:
        log.metric("eval/map", mean_ap, trainer.global_step)
    log.metric("eval/firing_rate", result.firing_rate, trainer.global_step)
    measured = sum(value is not None for value in scores.ap_per_class.values())
    shown = "-" if mean_ap is None else f"{100 * mean_ap:.2f} %"
    log.say(
        f"epoch {trainer.position.epoch}/{trainer.config.epochs}: mAP@0.5 {shown} "
        f"(mean over {_counted(measured, 'class', 'classes')} with boxes, "
        f"{_counted(reads, 'read', 'reads')}), firing rate {100 * result.firing_rate:.1f} %"
    )
    return scores


def store_operating_point(scores: Scores, weights: Path, log: RunLog) -> None:
    """Make the threshold of the best F1 what the weights suggest, if anything was found."""
    point = scores.operating_point
    if point is None:
        return
    store_score_threshold(weights, point.score_threshold)
    log.event({"eval/score_threshold": point.score_threshold})
    log.say(
        f"{weights} shows boxes from a score of {point.score_threshold:.3f}: precision "
        f"{100 * point.precision:.1f} %, recall {100 * point.recall:.1f} %"
    )


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
