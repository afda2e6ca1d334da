"""The report: one HTML file with everything in it, for people to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from spyv4.choices import AUTO
from spyv4.energy import ACCUMULATE_PJ, MULTIPLY_ACCUMULATE_PJ, Operations
from spyv4.files import write_atomically
from training.data import AnnotatedImage
from training.data.pictures import decode_rgb
from training.report.findings import (
    ClassFindings,
    Findings,
    PictureFindings,
    ReadFindings,
    TwinFindings,
)
from training.report.gather import settings
from training.report.pictures import annotated
from training.report.reads_charts import reads_charts
from training.report.run_charts import label_statistics, training_curves

NONE = "-"


@dataclass(frozen=True)
class Report:
    """What a page shows; what is empty is left out.

    Attributes:
        title: of the page.
        facts: command, dates, machine and the like, by name.
        configuration: of the run or the network, as plain values.
        class_names: in the order of the network's outputs.
        pictures: annotated pictures by the name of their data set.
        log: entries of a run's log.
        batch: pictures of a training batch with their boxes, as data URIs.
        findings: of an evaluation.
    """

    title: str
    facts: Mapping[str, str]
    configuration: Mapping[str, Any]
    class_names: Sequence[str]
    pictures: Mapping[str, Sequence[AnnotatedImage]]
    log: Sequence[Mapping[str, Any]] = ()
    batch: Sequence[str] = ()
    findings: Findings | None = None


def write_report(path: Path, report: Report) -> None:
    """Write a page that needs nothing beside it, all or nothing.

    Args:
        path: the .html file.
        report: what it shows.

    Raises:
        DatasetError: if a picture that it shows is damaged.
        OSError: if it cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("training", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "amount": amount, "decimals": decimals}
    page = environment.get_template("page.html").render(
        report=report,
        settings=list(settings(report.configuration)),
        curves=list(training_curves(report.log)),
        labels=list(label_statistics(report.pictures, report.class_names)),
        **_of_findings(report.findings),
    )
    write_atomically(path, lambda part: part.write_text(page, encoding="utf-8"))


def percent(share: float | None) -> str:
    """A share in percent; a dash where there is none."""
    return NONE if share is None else f"{100 * share:.1f}"


def decimals(value: float | None) -> str:
    """A number with three digits that count; a dash where there is none."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def amount(count: float) -> str:
    """A large number with three digits that count and its thousands as a letter."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * size:  # where three digits round up to the next letter
            return f"{count / size:.3g} {letter}"
    return f"{count:.0f}"


class _Row(NamedTuple):
    """A line of the table of reads."""

    name: str
    mean_ap: float | None
    ms_per_image: float | None
    firing_rate: float | None
    operations: Operations


def _of_findings(findings: Findings | None) -> dict[str, Any]:
    """What the template shows of an evaluation."""
    if findings is None:
        return {"findings": None}
    usual = next(at for at in findings.by_reads if at.reads == findings.reads)
    return {
        "findings": findings,
        "usual": usual,
        "reads": _reads(findings.reads),
        "rows": _rows(findings),
        "rate_share": _rate_share(usual),
        "reads_charts": list(reads_charts(findings)),
        "classes": [(item, _path(item)) for item in sorted(findings.classes, key=_worse_last)],
        "confusion": _confusion(findings),
        "best": [_pair(picture) for picture in findings.best],
        "worst": [_pair(picture) for picture in findings.worst],
        "picojoules": (ACCUMULATE_PJ, MULTIPLY_ACCUMULATE_PJ),
    }


def _worse_last(item: ClassFindings) -> float:
    """To sort by falling average precision, classes without boxes last."""
    return 1.0 if item.average_precision is None else -item.average_precision


def _reads(number: str) -> str:
    """A number of reads in words."""
    if number == AUTO:
        return "as many reads as it takes (auto)"
    if not number.isdecimal():
        return f"{number} detections"
    return f"{number} read{'' if number == '1' else 's'}"


def _rows(findings: Findings) -> list[_Row]:
    """The network at every number of reads, and the twin below it."""
    rows = [
        _Row(_name(at), at.mean_ap, at.ms_per_image, at.firing_rate, at.operations.network)
        for at in findings.by_reads
        if at.operations is not None
    ]
    operations = findings.by_reads[0].operations
    if operations is not None and not operations.is_twin:
        known = findings.twin or TwinFindings(None, None)
        rows.append(_Row("twin, 1", known.mean_ap, known.ms_per_image, None, operations.twin))
    return rows


def _name(at: ReadFindings) -> str:
    """A number of reads, or how many it was on average."""
    named = at.reads.isdecimal() or at.mean_reads is None
    return at.reads if named else f"{at.reads}, {at.mean_reads:.1f}"


def _rate_share(at: ReadFindings) -> float | None:
    """Share of the energy that goes into the neurons' rates."""
    if at.operations is None:
        return None
    network = at.operations.network
    alone = Operations(0, 0, 0, network.rate_operations, 0)
    return alone.energy_mj / network.energy_mj


def _path(item: ClassFindings) -> str:
    """The precision-recall curve as an SVG path in percent, downwards; empty if it is."""
    points = np.round(100 * np.column_stack((item.recall, 1 - item.precision)), 1)
    if not len(points):
        return ""
    lasts = points[np.append(np.diff(points[:, 1]) != 0, True)]  # of all of the same height
    steps = "".join(f"V{down:g}H{across:g}" for across, down in lasts)
    return f"M0,{points[0, 1]:g}{steps}V100"


class _Confusion(NamedTuple):
    """Names of the columns, and rows of a name and (count, share of the row)."""

    columns: list[str]
    rows: list[tuple[str, list[tuple[int, float]]]]


def _confusion(findings: Findings) -> _Confusion:
    """The matrix without the classes that neither are there nor were found."""
    matrix = findings.confusion
    names = [*(item.name for item in findings.classes), "nothing"]
    there = [i for i in range(len(names)) if matrix[i].any() or matrix[:, i].any()]
    rows = []
    for i in there:
        total = max(1, int(matrix[i].sum()))
        rows.append((names[i], [(int(matrix[i, j]), int(matrix[i, j]) / total) for j in there]))
    return _Confusion([names[j] for j in there], rows)


class _Pair(NamedTuple):
    """A picture with its truth, and with what was found, as data URIs."""

    name: str
    quality: float
    truth: str
    found: str


def _pair(picture: PictureFindings) -> _Pair:
    pixels = decode_rgb(picture.path)
    truth, found = (annotated(pixels, marks) for marks in (picture.truth, picture.found))
    return _Pair(picture.path.stem, picture.quality, truth, found)
