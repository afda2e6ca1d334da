"""`spyv4-bench`: how fast the network is here, or what it is made of."""

import argparse
import json
from typing import Any

from spyv4.choices import MODEL_NAMES
from spyv4.commandline import build_parser, positive, run_command
from spyv4.commands.options import add_image_size, image_size
from spyv4.errors import ArgumentError


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
    add("--no-compiled", action="store_true", help="leave torch.compile out")
    add("--json", action="store_true", help="print JSON")
    return run_command(parser, _bench, argv)


def _bench(arguments: argparse.Namespace) -> int:
    if arguments.model is not None and arguments.weights is not None:
        raise ArgumentError("give --model or --weights, not both")
    import torch

    from spyv4.bench import describe, time_runtimes
    from spyv4.config import check_reads, model_preset
    from spyv4.network.spyv4 import SPYv4
    from spyv4.runtime.torch_runtime import TorchRuntime, device_name, pick_device
    from spyv4.weights import load_weights

    check_reads(arguments.reads)

    def build() -> SPYv4:
        if arguments.model is not None:
            torch.manual_seed(0)
            return SPYv4(model_preset(arguments.model))
        return load_weights(arguments.weights)

    config = build().config
    size = image_size(arguments, config.image_size)
    report = describe(config, size)
    if not arguments.describe:
        device = pick_device(arguments.device)
        timings = time_runtimes(
            build,
            size,
            batch=arguments.batch_size,
            reads=arguments.reads,
            rounds=arguments.rounds,
            device=device,
            with_onnx=not arguments.no_onnx,
            with_compiled=not arguments.no_compiled,
        )
        report |= {
            "device": device_name(device),
            "batch_size": arguments.batch_size,
            "chosen": TorchRuntime(build(), device).description,
            "timings": [timing._asdict() for timing in timings],
        }
    print(json.dumps(report) if arguments.json else _as_text(report))
    return 0


def _as_text(report: dict[str, Any]) -> str:
    """The report, a line a fact."""
    facts = [f"{key:>16}: {value}" for key, value in report.items() if key != "timings"]
    timings = [
        f"{row['name']:>48}: {row['ms_per_read']:8.2f} ms a read, x {row['speedup']:.2f}"
        for row in report.get("timings", [])
    ]
    return "\n".join(facts + timings)
