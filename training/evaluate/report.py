"""The figures of an evaluation as a table for people and as JSON."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from training.evaluate.ground_truth import GroundTruth
from training.evaluate.operating_point import OperatingPoint
from training.evaluate.scores import Scores

COCO_COLUMNS = {"ap": "COCO AP", "ap50": "AP50", "ap75": "AP75"}


def to_json(scores: Scores, subset: Sequence[str] = ()) -> dict[str, Any]:
    """The figures as plain values, shares 0..1; `map_subset` is the mean over `subset`.

    Spikes, operations and energy are those of one picture (see `spyv4.energy`), as is `mean_reads`.
    """
    values: dict[str, Any] = {
        "map": scores.mean_ap(),
        "map_11pt": scores.mean_ap_11pt(),
        "ap_per_class": dict(scores.ap_per_class),
        "ap_11pt_per_class": dict(scores.ap_11pt_per_class),
        "mean_reads": scores.mean_reads,
        "firing_rate": scores.firing_rate,
        "ms_per_image": scores.ms_per_image,
        "detections": scores.detections,
        "operating_point": _point_to_json(scores.operating_point),
    }
    if scores.operations is not None:
        network, twin = scores.operations
        values |= {
            "spikes": network.spikes,
            "synaptic_operations": network.synaptic_operations,
            "multiply_accumulates": network.multiply_accumulates,
            "energy_mj": network.energy_mj,
            "twin_energy_mj": twin.energy_mj,
        }
    if subset:
        values |= {"map_subset": scores.mean_ap(subset), "subset": list(subset)}
    return values | ({"coco": dict(scores.coco)} if scores.coco else {})


def to_table(by_reads: Mapping[str, Scores], truth: GroundTruth, subset: Sequence[str] = ()) -> str:
    """Reads against the figures, then average precision by class; shares in percent."""
    columns: dict[str, Callable[[Scores], float | None]] = {
        "mAP": Scores.mean_ap,
        "mAP 11-point": Scores.mean_ap_11pt,
    }
    if subset:
        columns[f"mAP of {len(subset)}"] = lambda scores: scores.mean_ap(subset)
    if all(scores.coco for scores in by_reads.values()):
        for key, heading in COCO_COLUMNS.items():
            columns[heading] = lambda scores, key=key: scores.coco[key]  # type: ignore[misc]
    columns["firing rate"] = lambda scores: scores.firing_rate
    summary = [["reads", *(f"{heading} %" for heading in columns), "ms per image"]]
    for reads, scores in by_reads.items():
        figures = [_percent(figure(scores)) for figure in columns.values()]
        time = "-" if scores.ms_per_image is None else f"{scores.ms_per_image:.1f}"
        summary.append([reads, *figures, time])
    if not all(map(str.isdecimal, by_reads)):
        means = [scores.mean_reads for scores in by_reads.values()]
        cells = ["-" if mean is None else f"{mean:.2f}" for mean in means]
        summary = [
            [row[0], cell, *row[1:]]
            for row, cell in zip(summary, ["mean reads", *cells], strict=True)
        ]
    points = [["reads", "best threshold", "precision %", "recall %", "F1 %"]]
    for reads, scores in by_reads.items():
        point = scores.operating_point
        shares = (None,) * 3 if point is None else (point.precision, point.recall, point.f1)
        threshold = "-" if point is None else f"{point.score_threshold:.3f}"
        points.append([reads, threshold, *map(_percent, shares)])
    classes = [["class", "boxes", *(f"AP % at {reads}" for reads in by_reads)]]
    for name, boxes in truth.boxes_per_class.items():
        figures = [_percent(scores.ap_per_class[name]) for scores in by_reads.values()]
        classes.append([name, str(boxes), *figures])
    tables = [summary, points, *_operations(by_reads), classes]
    return "\n\n".join(map(_aligned, tables))


def _operations(by_reads: Mapping[str, Scores]) -> list[list[list[str]]]:
    """A table of what a picture takes, where it was measured, in thousands of operations."""
    head = ["reads", "spikes", "synaptic operations", "multiply-accumulates", "mJ", "twin's mJ"]
    rows = [
        [
            reads,
            *(f"{count / 1e3:,.0f}k" for count in network[:2]),
            f"{network.multiply_accumulates / 1e3:,.0f}k",
            *(f"{operations.energy_mj:.3f}" for operations in (network, twin)),
        ]
        for reads, scores in by_reads.items()
        if scores.operations is not None
        for network, twin in [scores.operations]
    ]
    return [[head, *rows]] if rows else []


def _point_to_json(point: OperatingPoint | None) -> dict[str, float] | None:
    """The operating point with its F1."""
    return None if point is None else point._asdict() | {"f1": point.f1}


def _percent(share: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    )
