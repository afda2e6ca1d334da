"""The evaluation of a run between its epochs and at its end."""

import copy
from pathlib import Path
from typing import Any

from spyv4.checkpoint import store_score_threshold
from spyv4.detector import Detector
from training.data import AnnotatedImage
from training.evaluate.evaluation import Evaluation, evaluate_detector
from training.evaluate.scores import Scores
from training.interrupts import Interrupts
from training.report.log import RunLog
from training.run_report import RunReport
from training.run_state import RunState
from training.runs import RunFolder


class RunEvaluation:
    """Measures what would be shipped now, keeps the best, and writes the report.

    Args:
        images: the pictures to measure it on; none for never.
        every: epochs between evaluations; 0 for the end alone.
        report: written after every evaluation, and at the end.
        patience: end the run after so many evaluations without a higher mAP; 0 for never.
    """

    def __init__(
        self, images: list[AnnotatedImage], every: int, report: RunReport, patience: int = 0
    ) -> None:
        self.images, self.every, self.report, self.patience = images, every, report, patience
        self._without_gain = 0

    def between(self, state: RunState, folder: RunFolder, log: RunLog, stop: Interrupts) -> None:
        """After an epoch that is not the last one, if it is time."""
        due = self.every > 0 and state.position.epoch % self.every == 0
        if self.images and due and not state.complete:
            with stop.at_once("evaluating"):
                evaluation = evaluate(state, self.images, log)
                gained = _keep(evaluation, state, folder, log)
                self.report.write(state, folder, evaluation)
            self._without_gain = 0 if gained else self._without_gain + 1
            if self.patience and self._without_gain >= self.patience:
                log.say(f"no higher mAP in {self.patience} evaluations: this run is over")
                state.finish()
                folder.save(state)

    def final(
        self, state: RunState, folder: RunFolder, log: RunLog, stop: Interrupts
    ) -> dict[str, Any]:
        """At the end; what is to be reported of it.

        The weights, and the best ones, get the score of the best F1 as the one to show boxes from.
        """
        if not self.images:
            with stop.at_once("writing the report"):
                self.report.write(state, folder, None)
            return {}
        with stop.at_once("evaluating"):
            evaluation = evaluate(state, self.images, log)
            _keep(evaluation, state, folder, log)
            _store_operating_point(evaluation, folder.weights, log)
            self.report.write(state, folder, evaluation)
        report: dict[str, Any] = {"map": _scores(evaluation).mean_ap()}
        if folder.best_map is not None:
            report |= {"best": str(folder.best), "best_map": folder.best_map}
        return report


def evaluate(state: RunState, images: list[AnnotatedImage], log: RunLog) -> Evaluation:
    """Measure what would be saved now, and say how it does at the number of reads trained for.

    Args:
        state: the run.
        images: the pictures to measure it on.
        log: receives and shows the figures.

    Returns:
        What was found, at fewer reads as well.
    """
    reads = state.config.reads
    with state.evaluated():
        detector = Detector.from_model(
            copy.deepcopy(state.model),
            device=next(state.model.parameters()).device.type,
            # always the same, as a measured one is not
            precision="bfloat16" if state.config.precision == "bfloat16" else "float32",
        )
    evaluation = evaluate_detector(detector, images, reads_up_to(reads), usual=reads)
    scores = _scores(evaluation)
    mean_ap, firing_rate = scores.mean_ap(), scores.firing_rate
    for name, value in (("eval/map", mean_ap), ("eval/firing_rate", firing_rate)):
        if value is not None:
            log.metric(name, value, state.step)
    measured = sum(value is not None for value in scores.ap_per_class.values())
    log.say(
        f"epoch {state.position.epoch}/{state.config.epochs}: mAP@0.5 {_percent(mean_ap, 2)} "
        f"(mean over {_counted(measured, 'class', 'classes')} with boxes, "
        f"{_counted(reads, 'read', 'reads')}), firing rate {_percent(firing_rate, 1)}"
    )
    return evaluation


def _scores(evaluation: Evaluation) -> Scores:
    """At the number of reads trained for."""
    return evaluation.scores[evaluation.usual]


def reads_up_to(reads: int) -> list[int]:
    """1, 2, 4, ... and `reads`: looking on costs what looking anew would."""
    return sorted({2**power for power in range(reads.bit_length()) if 2**power < reads} | {reads})


def _keep(evaluation: Evaluation, state: RunState, folder: RunFolder, log: RunLog) -> bool:
    """Whether these weights are the best so far, which are kept then."""
    scores = _scores(evaluation)
    mean_ap = scores.mean_ap()
    if mean_ap is None or not folder.keep_if_best(state, mean_ap):
        return False
    log.say(f"the best so far: kept as {folder.best}")
    if scores.operating_point is not None:
        store_score_threshold(folder.best, scores.operating_point.score_threshold)
    return True


def _store_operating_point(evaluation: Evaluation, weights: Path, log: RunLog) -> None:
    """Make the threshold of the best F1 what the weights suggest, if anything was found."""
    point = _scores(evaluation).operating_point
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


def _percent(share: float | None, digits: int) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f} %"
