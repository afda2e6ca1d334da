"""From an evaluation to what its report shows."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spyv4.config import ModelConfig
from spyv4.errors import ArgumentError
from training.evaluate.evaluation import Evaluation
from training.evaluate.ground_truth import GroundTruth
from training.evaluate.operating_point import as_shown
from training.evaluate.pairing import Pairs, confusion_matrix, pair, picture_quality
from training.evaluate.predictions import Predictions
from training.evaluate.voc_ap import match_class, precision_recall
from training.report.findings import (
    ClassFindings,
    Findings,
    Judged,
    Mark,
    PictureFindings,
    ReadFindings,
    TwinFindings,
    Verdict,
)

SHOWN_PICTURES = 6


def findings_of(
    evaluation: Evaluation,
    config: ModelConfig,
    data: str,
    twin: TwinFindings | None = None,
) -> Findings:
    """What the report of an evaluation shows.

    Its details are of the usual number of reads, with boxes from the score of the best F1; if
    nothing is right at any score, from the score that the network shows boxes from.

    Args:
        evaluation: what was measured.
        config: of the network.
        data: what was evaluated on, for people.
        twin: of the non-spiking twin.
    """
    truth, reads = evaluation.truth, evaluation.usual
    point = evaluation.scores[reads].operating_point
    threshold = config.score_threshold if point is None else point.score_threshold
    shown = {key: as_shown(found, threshold) for key, found in evaluation.predictions.items()}
    pairs = {key: pair(found, truth) for key, found in shown.items()}
    best, worst = _extremes(evaluation, shown[reads], pairs[reads])
    return Findings(
        data=data,
        images=len(evaluation.images),
        reads=reads,
        score_threshold=threshold,
        by_reads=tuple(_at(evaluation, key, shown[key], pairs[key]) for key in shown),
        classes=_classes(evaluation, reads),
        confusion=confusion_matrix(shown[reads], truth, pairs[reads]),
        best=best,
        worst=worst,
        firing_rates=evaluation.firing_rates,
        twin=twin,
    )


def read_twin(path: Path, data: str, images: int) -> TwinFindings:
    """The figures of a twin from what `spyv4-eval --json` wrote of it.

    Args:
        path: the file.
        data: the image sets that it must be of.
        images: how many pictures it must be of.

    Raises:
        ArgumentError: if it is no such file, or of other pictures.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        of = document["eval"], document["images"]
        first = next(iter(document["by_reads"].values()))
        figures = TwinFindings(first["map"], first["ms_per_image"])
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise ArgumentError(f"{path} was not written by spyv4-eval --json") from error
    if of != (data, images):
        raise ArgumentError(
            f"{path} is of {of[1]} pictures of {of[0]}, not of {images} of {data}; evaluate the "
            "twin on the same ones"
        )
    return figures


def _at(evaluation: Evaluation, key: str, shown: Predictions, pairs: Pairs) -> ReadFindings:
    """One number of reads."""
    scores = evaluation.scores[key]
    return ReadFindings(
        key,
        scores.mean_ap(),
        scores.ms_per_image,
        scores.firing_rate,
        scores.operations,
        _judged(shown.scores[pairs.right]),
        _judged(shown.scores[pairs.counted & ~pairs.right]),
        scores.mean_reads,
    )


def _judged(scores: NDArray[np.float64]) -> Judged:
    return Judged(len(scores), float(scores.mean()) if len(scores) else None)


def _classes(evaluation: Evaluation, reads: str) -> tuple[ClassFindings, ...]:
    """All classes with their curves."""
    found, truth = evaluation.predictions[reads], evaluation.truth
    average = evaluation.scores[reads].ap_per_class
    return tuple(
        ClassFindings(
            name,
            boxes,
            average[name],
            *precision_recall(match_class(found, truth, label).true_positive, max(boxes, 1)),
        )
        for label, (name, boxes) in enumerate(truth.boxes_per_class.items())
    )


def _extremes(
    evaluation: Evaluation, shown: Predictions, pairs: Pairs
) -> tuple[tuple[PictureFindings, ...], tuple[PictureFindings, ...]]:
    """The pictures that went best, and those that went worst, if their files are there."""
    mean, total = picture_quality(shown, evaluation.truth, pairs)
    # Where all boxes of several pictures are missed, those with the most of them are worst.
    order = np.lexsort((total, mean))
    order = order[~np.isnan(mean[order])]
    half = min(SHOWN_PICTURES, (len(order) + 1) // 2)

    def look(indices: Sequence[int]) -> tuple[PictureFindings, ...]:
        paths = [evaluation.images[index].image_path for index in indices]
        return tuple(
            PictureFindings(
                path,
                float(mean[index]),
                _truth_marks(evaluation.truth, pairs, index),
                _found_marks(evaluation.truth, shown, pairs, index),
            )
            for path, index in zip(paths, indices, strict=True)
            if path.is_file()
        )

    return look(order[::-1][:half].tolist()), look(order[: len(order) - half][:half].tolist())


def _truth_marks(truth: GroundTruth, pairs: Pairs, image: int) -> tuple[Mark, ...]:
    """The annotated boxes of a picture."""
    marks = []
    for row in np.flatnonzero(truth.image_indices == image):
        verdict: Verdict = "wrong" if pairs.missed[row] else "right"
        if truth.difficult[row]:
            verdict = "ignored"
        remark = {"right": "", "wrong": " missed", "ignored": " (difficult)"}[verdict]
        text = truth.class_names[truth.labels[row]] + remark
        marks.append(Mark(tuple(truth.boxes_xyxy[row].tolist()), text, verdict))
    return tuple(marks)


def _found_marks(
    truth: GroundTruth, shown: Predictions, pairs: Pairs, image: int
) -> tuple[Mark, ...]:
    """The detections on a picture, lowest score first, so that the highest lies on top."""
    rows = np.flatnonzero(shown.image_indices == image)
    marks = []
    for row in rows[np.argsort(shown.scores[rows], kind="stable")]:
        verdict: Verdict = "right" if pairs.right[row] else "wrong"
        if not pairs.counted[row]:
            verdict = "ignored"
        remark = " wrong" if verdict == "wrong" else ""
        text = f"{truth.class_names[shown.labels[row]]} {shown.scores[row]:.2f}{remark}"
        marks.append(Mark(tuple(shown.boxes_xyxy[row].tolist()), text, verdict))
    return tuple(marks)
