"""A page with every section, of drawn pictures and made-up detections."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spyv4.config import ModelConfig
from spyv4.energy import Comparison, compare
from spyv4.validation import to_mapping
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.data import AnnotatedImage, read_split
from training.evaluate.evaluation import Evaluation
from training.evaluate.findings import findings_of
from training.evaluate.ground_truth import ground_truth_of
from training.evaluate.predictions import predictions_of_rows
from training.evaluate.scores import score_predictions
from training.report.findings import Findings, TwinFindings
from training.report.gather import facts
from training.report.page import Report
from training.report.pictures import annotated

CONFIG = ModelConfig(class_names=CLASS_NAMES, width_multiple=1 / 8, image_size=(64, 64))
TWIN = TwinFindings(0.625, 3.5)


def drawn(root: Path) -> list[AnnotatedImage]:
    """Eight pictures of a rectangle or two."""
    scenes = [
        Scene(
            (90, 120),
            (
                Thing(CLASS_NAMES[i % 4], (8, 6, 50 + i, 50)),
                Thing(CLASS_NAMES[i % 3], (60, 20, 110, 80), difficult=i == 7),
            ),
        )
        for i in range(8)
    ]
    write_voc_tree(root, scenes)
    return read_split(root, "VOC2012:train", CLASS_NAMES)


def operations(reads: int, config: ModelConfig = CONFIG) -> Comparison:
    """Of a network of which one neuron in five spikes."""
    rates = np.full((reads, 19), 0.2)
    return compare(config, config.image_size, rates, rates)


def findings(images: Sequence[AnnotatedImage], config: ModelConfig = CONFIG) -> Findings:
    """At one, two and four reads; the more, the more is right."""
    truth = ground_truth_of(images, config.class_names)
    rows = []
    for image, label, box in zip(truth.image_indices, truth.labels, truth.boxes_xyxy, strict=True):
        wrong = image % 3 == 2
        rows.append((int(image), int(label + wrong) % 4, box + 2, 0.9 - 0.05 * image))
    predictions = {str(n): predictions_of_rows(rows[: 3 * n + 2]) for n in (1, 2, 4)}
    scores = {
        key: score_predictions(
            found,
            truth,
            coco=False,
            firing_rate=0.2,
            ms_per_image=10 * int(key),
            operations=operations(int(key), config),
        )
        for key, found in predictions.items()
    }
    evaluation = Evaluation(images, truth, predictions, scores, "4", np.full((4, 19), 0.2))
    return findings_of(evaluation, config, "VOC2012:val", TWIN)


def log() -> list[dict[str, object]]:
    """Twenty entries of a run, and two evaluations."""
    steps: list[dict[str, object]] = [
        {
            "global_step": step,
            "learning_rate": 1e-3,
            "loss": 9 - step / 50,
            "box": 1.0,
            "objectness": 5 - step / 50,
            "classes": 3.0,
            "teacher": 0.0,
            "firing_rate": 0.1,
            "images_per_s": 20.0,
            "penalty_ratio": 0.03,
        }
        for step in range(19, 400, 20)
    ]
    return [*steps, *({"eval/map": 0.1 * n, "global_step": 200 * n} for n in (1, 2))]


def whole_report(root: Path) -> Report:
    """With every section."""
    images = drawn(root)
    return Report(
        title="spyv4 & <friends>",
        facts=facts(),
        configuration=to_mapping(CONFIG),
        class_names=CLASS_NAMES,
        pictures={"training": images, "evaluation": images[:4]},
        log=log(),
        batch=[annotated(np.zeros((64, 64, 3), np.uint8), ())] * 3,
        findings=findings(images),
    )


def bare_report(root: Path) -> Report:
    """A run that has logged nothing and was not evaluated."""
    return replace(whole_report(root), log=(), batch=(), findings=None)
