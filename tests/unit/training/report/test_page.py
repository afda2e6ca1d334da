"""The page: whole, by itself, and saying what it was given."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from spyv4.config import ModelConfig
from spyv4.validation import from_mapping, to_mapping
from tests.helpers.report_page import (
    CONFIG,
    TWIN,
    bare_report,
    drawn,
    findings,
    operations,
    whole_report,
)
from training.report.page import amount, decimals, percent, write_report

SECTIONS = [
    *("reads", "curves", "pictures", "classes", "confusion", "batch", "labels", "configuration")
]
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what there is."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag not in VOID and tag != "path":
            self.open.append(tag)
        if tag == "section":
            self.sections.append(values["id"] or "")
        if tag == "a":
            self.links.append(values["href"] or "")
        if "src" in values:
            assert values.get("alt"), "a picture that says nothing to who cannot see it"
            self.sources.append(values["src"] or "")
        if tag == "tr":
            self.rows.append([])

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] in (["td"], ["th"]):
            self.rows[-1].append(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    write_report(folder / "out" / "report.html", whole_report(folder))
    return (folder / "out" / "report.html").read_text(encoding="utf-8")


def written(tmp_path: Path, report: object) -> str:
    write_report(tmp_path / "r.html", report)  # type: ignore[arg-type]
    return (tmp_path / "r.html").read_text(encoding="utf-8")


def test_it_parses_and_has_every_section_and_a_link_to_each(whole: str) -> None:
    page = Page(whole)
    assert page.sections == SECTIONS
    assert page.links == [f"#{name}" for name in SECTIONS]


def test_nothing_is_fetched_from_elsewhere(whole: str) -> None:
    page = Page(whole)
    assert len(page.sources) > 20
    for source in page.sources:
        kind, _, data = source.partition(";base64,")
        assert kind in ("data:image/jpeg", "data:image/svg+xml")
        if "svg" in kind:
            svg = base64.b64decode(data).decode()
            assert not re.search(r"""(href|src|url)\s*[=(]\s*["']?(https?:)?//""", svg)
            assert svg.startswith("<svg")
    text = re.sub(r'"data:[^"]*"', "", whole)
    assert not re.search(r"""(src|href|srcset|action)\s*=\s*["']?\s*(https?:)?//""", text)
    assert not re.search(r"url\(|@import|<script|<link(?! rel=.icon)", text)


def test_text_is_escaped(whole: str) -> None:
    assert "spyv4 &amp; &lt;friends&gt;" in whole
    assert "<friends>" not in whole


def test_what_has_no_data_is_left_out(tmp_path: Path) -> None:
    page = Page(written(tmp_path, bare_report(tmp_path)))
    assert page.sections == ["labels", "configuration"]
    assert page.links == ["#labels", "#configuration"]


def test_the_table_of_reads_has_the_figures_and_the_twin_below(whole: str) -> None:
    rows = Page(whole).rows
    four = next(row for row in rows if row[0] == "4")
    network, twin = operations(4)
    assert four[2:4] == ["40", "20.0"]
    assert four[4:] == [
        amount(network.spikes),
        amount(network.synaptic_operations),
        amount(network.multiply_accumulates),
        decimals(network.energy_mj),
        decimals(network.energy_mj / twin.energy_mj),
    ]
    below = rows[rows.index(four) + 1]
    assert below == [
        *("twin, 1", percent(TWIN.mean_ap), decimals(TWIN.ms_per_image), "-", "0", "0"),
        *(amount(twin.multiply_accumulates), decimals(twin.energy_mj), "1"),
    ]
    assert "Not counted</b>: memory traffic" in whole


def test_classes_stand_by_falling_average_precision(whole: str) -> None:
    rows = Page(whole).rows
    start = next(i for i, row in enumerate(rows) if row[:2] == ["class", "boxes"])
    shown = [float(row[2]) for row in rows[start + 1 : start + 5]]
    assert shown == sorted(shown, reverse=True)
    assert shown[0] > shown[-1]


def test_a_twins_own_page_has_no_second_twin(tmp_path: Path) -> None:
    neuron = {"neuron": {"kind": "leaky-relu"}}
    config = from_mapping(ModelConfig, to_mapping(CONFIG) | neuron)
    report = replace(bare_report(tmp_path), findings=findings(drawn(tmp_path), config))
    text = written(tmp_path, report)
    assert "The network does not spike." in text
    assert not [row for row in Page(text).rows if row and row[0] == "twin, 1"]


def test_saved_detections_have_no_energy(tmp_path: Path) -> None:
    found = findings(drawn(tmp_path))
    saved = found.by_reads[-1]._replace(
        reads="saved", operations=None, firing_rate=None, ms_per_image=None
    )
    found = replace(found, by_reads=(saved,), reads="saved", firing_rates=None, twin=None)
    page = Page(written(tmp_path, replace(bare_report(tmp_path), findings=found)))
    assert page.sections == ["pictures", "classes", "confusion", "labels", "configuration"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1234, "1.23 k"), (5.18e9, "5.18 G"), (2e6, "2 M"), (999_800, "1 M")],
)
def test_large_numbers_are_readable(count: float, text: str) -> None:
    assert amount(count) == text


def test_figures_that_are_not_there_are_dashes() -> None:
    assert percent(None) == decimals(None) == "-"
    assert (percent(0.1234), decimals(0.012345), decimals(1234.5)) == ("12.3", "0.0123", "1,234")
