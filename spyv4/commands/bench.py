"""`spyv4-bench`: how fast the network is here, or what it is made of."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from spyv4.choices import MODEL_NAMES
from spyv4.commandline import build_parser, positive, run_command
from spyv4.commands.options import add_image_size, image_size
from spyv4.errors import ArgumentError

STANDARD_OUTPUT = "-"


def bench_command(argv: list[str] | None = None) -> int:
    """The console script."""
    parser = build_parser(
        "spyv4-bench",
        "Time one read by every way of running the network, or describe the network.",
        "spyv4-bench --model spyv4 --image-size 416 416",
    )
    add = parser.add_argument
    add("--model", choices=MODEL_NAMES, help="network of random parameters")
    add("--weights", help="name or file, instead of --model (the shipped default)")
    add_image_size(parser)
    add("--describe", action="store_true", help="parameters, neurons, GFLOP a read; no timing")
    add("--batch-size", type=positive, default=1)
    add("--reads", type=int, default=4, help="reads a round (%(default)s)")
    add(
        "--rounds",
        type=positive,
        default=15,
        help="measured rounds, the median counts (%(default)s)",
    )
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--no-onnx", action="store_true", help="leave ONNX Runtime out")
    add(
        "--no-compiled",
        action="store_true",
        help="leave what is compiled ahead of time out, and CUDA graphs",
    )
    add("--retune", action="store_true", help="forget what was measured and built here, first")
    add(
        "--json",
        nargs="?",
        const=STANDARD_OUTPUT,
        metavar="FILE",
        help="write JSON to a file, or print it instead of text",
    )
    add("--compare", type=Path, metavar="FILE", help="of an earlier --json, to set beside this run")
    return run_command(parser, _bench, argv)


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.model is not None and arguments.weights is not None:
        raise ArgumentError("give --model or --weights, not both")
    earlier = None if arguments.compare is None else _earlier(arguments.compare)
    from spyv4.bench import describe
    from spyv4.bench_ways import Subject, measure
    from spyv4.config import check_reads
    from spyv4.files import write_atomically
    from spyv4.runtime.torch_runtime import pick_device

    check_reads(arguments.reads)
    subject = Subject(arguments.model, arguments.weights)
    size = image_size(arguments, subject.config.image_size)
    report = describe(subject.config, size)
    if not arguments.describe:
        report |= measure(
            subject,
            size,
            pick_device(arguments.device),
            arguments,
            tell=lambda text: print(text, file=sys.stderr, flush=True),
        )
    if arguments.json not in (None, STANDARD_OUTPUT):
        text = json.dumps(report, indent=1)
        write_atomically(Path(arguments.json), lambda path: path.write_text(text, "utf-8"))
    print(json.dumps(report) if arguments.json == STANDARD_OUTPUT else _as_text(report, earlier))
    return 0


def _earlier(path: Path) -> dict[str, float]:
    """Milliseconds a read by way, of an earlier run.

    Raises:
        ArgumentError: if the file holds none.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return {row["name"]: float(row["ms_per_read"]) for row in report["timings"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ArgumentError(f"--compare wants a file of spyv4-bench --json, not {path}") from error


def _as_text(report: dict[str, Any], earlier: dict[str, float] | None) -> str:
    """The report, a line a fact."""
    facts = [f"{key:>16}: {value}" for key, value in report.items() if key not in _TABLES]
    peaks = ", ".join(f"{name} {rate:.0f}" for name, rate in report.get("peaks", {}).items())
    if peaks:
        facts.append(f"{'matrix products':>16}: {peaks} (10^9 operations a second)")
    for row in report.get("timings", []):
        line = f"{row['name']:>40}: {row['ms_per_read']:8.2f} ms a read, x {row['speedup']:.2f}"
        if row["share_of_peak"] is not None:
            line += f", {row['share_of_peak']:4.0%} of the peak"
        if earlier is not None and row["name"] in earlier:
            line += f", {row['ms_per_read'] / earlier[row['name']]:.2f} of the earlier time"
        facts.append(line)
    return "\n".join(facts)


_TABLES = ("timings", "peaks", "choice")
