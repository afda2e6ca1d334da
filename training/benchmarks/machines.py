"""Writes docs/benchmark.md from what was measured on each machine.

    python -m training.benchmarks.machines docs/benchmarks --output docs/benchmark.md

A folder a machine, in which every file is optional: `spyv4.json`, `nano.json` and others of
`spyv4-bench --json`; `neighbours.json` of `training.benchmarks.neighbours`; `startup.json` of
`tests.load.startup`; `page.json` of `tests.browser.measure`; `about.txt`, a line on the machine;
`notes.md`, what was measured by hand.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from spyv4.commandline import build_parser, run_command
from spyv4.errors import ArgumentError
from spyv4.files import write_atomically

HEAD = (
    "# Benchmark\n\n"
    "Written by `python -m training.benchmarks.machines docs/benchmarks --output "
    "docs/benchmark.md` from the files in docs/benchmarks, a folder a machine. All machines were "
    "shared with others, so ratios tell more than milliseconds: every way takes its turn in every "
    "round, and a ratio is the median over the rounds. The share of the peak is that of a large "
    "matrix product in the same precision, measured in the same run, which the convolutions of a "
    "way reach over its whole time; an 8-bit way has work in bfloat16 or float32 besides.\n"
)

FEW = 4
"""Of the page's lists, those that are longer are curves."""


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "python -m training.benchmarks.machines",
        "Write the benchmark page from what was measured on each machine.",
        "python -m training.benchmarks.machines docs/benchmarks --output docs/benchmark.md",
    )
    parser.add_argument("folder", type=Path, help="with a folder a machine")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    machines = sorted(path for path in arguments.folder.iterdir() if path.is_dir())
    text = "\n".join([HEAD, *(section for each in machines for section in sections(each))])
    write_atomically(arguments.output, lambda path: path.write_text(text, encoding="utf-8"))
    return 0


def sections(folder: Path) -> Iterable[str]:
    """What is known of one machine, as Markdown.

    Raises:
        ArgumentError: if a file cannot be read.
    """
    about = folder / "about.txt"
    yield f"## {about.read_text(encoding='utf-8').strip() if about.is_file() else folder.name}\n"
    named = {"neighbours": _neighbours, "startup": _startup, "page": _page}
    for path in sorted(folder.glob("*.json")):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            yield named.get(path.stem, _ways)(report)
        except (ValueError, KeyError, TypeError) as error:
            raise ArgumentError(f"{path} is no report: {error!r}") from error
    if (notes := folder / "notes.md").is_file():
        yield notes.read_text(encoding="utf-8")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def _ways(report: dict[str, Any]) -> str:
    height, width = report["image_size"]
    peaks = ", ".join(f"{name} {rate:.0f}" for name, rate in report["peaks"].items())
    rows = [
        (
            row["name"],
            f"{row['ms_per_read']:.2f}",
            f"{row['speedup']:.2f}",
            f"{row['share_of_peak']:.0%}",
        )
        for row in report["timings"]
    ]
    return (
        f"### One read of `{report['model']}`, {height} x {width}, batch {report['batch_size']}\n\n"
        f"{report['parameters'] / 1e6:.1f} M parameters, {report['gflop_per_read']} GFLOP a read; "
        f"{report['device']}, torch {report['torch']}. Matrix products reach (10^9 operations a "
        f"second): {peaks}. What is chosen: {report['chosen']} with "
        f"{report['threads']} of the threads; the other rows have all of them.\n\n"
        + table(("way", "ms a read", "speed against plain", "share of the peak"), rows)
    )


def _neighbours(report: dict[str, Any]) -> str:
    rows = [
        (
            row["policy"],
            row["way"],
            row["busy"],
            f"{row['ms_per_read']:.2f}",
            f"{row['over_own_idle']:.2f}",
            f"{row['over_idle_spin']:.2f}",
        )
        for row in report["rows"]
    ]
    header = (
        "threads",
        "way",
        "busy processes beside it",
        "ms a read",
        "over its own idle time",
        "over that of threads that spin",
    )
    return f"### Beside busy processes ({report['processors']} processors)\n\n" + table(
        header, rows
    )


def _startup(report: dict[str, Any]) -> str:
    rows = [
        (name, row["median_s"], row["least_s"], row["processor_s"])
        for name, row in report["commands"].items()
    ]
    text = f"### Start, on a warm disk (load average before: {report['load_average']:.1f})\n\n"
    text += table(("what", "median s", "least s", "processor s"), rows)
    if "server" in report:
        server = report["server"]
        held = ", ".join(f"{when} {mib['rss']}" for when, mib in server["memory_mib"].items())
        text += (
            f"\nThe server answers after {server['ready_s']} s. Resident memory in MiB, with "
            f"{server['clients']} clients: {held}.\n"
        )
    return text


def _page(report: dict[str, Any]) -> str:
    facts = "\n".join(
        f"- {key}: {value}"
        for key, value in report.items()
        if not isinstance(value, list) or len(value) <= FEW
    )
    return f"### The page\n\n{facts}\n"


if __name__ == "__main__":
    sys.exit(main())
