"""The console scripts of the detector package: export and benchmark."""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from spyv4.bench import describe, time_runtimes
from spyv4.commandline import build_parser, positive, run_command
from spyv4.config import MODEL_PRESETS, check_image_size, check_reads, model_preset
from spyv4.errors import ArgumentError
from spyv4.extras import require_extra
from spyv4.network.spyv4 import SPYv4
from spyv4.runtime.torch_runtime import TorchRuntime, device_name, pick_device
from spyv4.weights import load_weights


def export_command(argv: list[str] | None = None) -> int:
    """`spyv4-export`."""
    parser = build_parser(
        "spyv4-export",
        "Write the one-read step (images, state -> head maps, spikes, state) as ONNX and check it.",
        "spyv4-export --output spyv4-nano.onnx",
    )
    parser.add_argument("--weights", help="name or file (the shipped default)")
    parser.add_argument("--output", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument(
        "--precision",
        choices=("float32", "int8"),
        default="float32",
        help="of the spiking convolutions: in 8 bits a spike is exact and weights are rounded",
    )
    _add_image_size(parser)
    return run_command(parser, _export, argv)


def _export(arguments: argparse.Namespace) -> int:
    require_extra("onnx", "ONNX export and its check")
    from spyv4.runtime.onnx_check import check_export
    from spyv4.runtime.onnx_export import export_onnx

    model = load_weights(arguments.weights)
    size = _image_size(arguments, model.config.image_size)
    if arguments.output.suffix != ".onnx":
        raise ArgumentError(f"--output must end in .onnx, not {arguments.output.name!r}")
    export_onnx(model, arguments.output, size, precision=arguments.precision)
    passed = True
    for check in check_export(load_weights(arguments.weights), arguments.output, size):
        passed = passed and check.passed
        print(
            f"{check.state:>8} state: largest difference from torch {check.largest:.1e}, "
            f"{check.differing_share:.4%} of the values differ by a flipped spike "
            f"({'ok' if check.passed else 'FAILED'})"
        )
    shape = f"any batch and size, {size[0]} x {size[1]} unless told otherwise"
    print(f"wrote {arguments.output} for {shape}")
    return 0 if passed else 1


def bench_command(argv: list[str] | None = None) -> int:
    """`spyv4-bench`."""
    parser = build_parser(
        "spyv4-bench",
        "Time one read by every way of running the network, or describe the network.",
        "spyv4-bench --model spyv4 --image-size 416 416",
    )
    add = parser.add_argument
    add("--model", choices=list(MODEL_PRESETS), help="network of random parameters")
    add("--weights", help="name or file, instead of --model (the shipped default)")
    _add_image_size(parser)
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
    check_reads(arguments.reads)

    def build() -> SPYv4:
        if arguments.model is not None:
            torch.manual_seed(0)
            return SPYv4(model_preset(arguments.model))
        return load_weights(arguments.weights)

    config = build().config
    size = _image_size(arguments, config.image_size)
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


def _add_image_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="pixels, multiples of 32 (the network's own)",
    )


def _image_size(arguments: argparse.Namespace, default: tuple[int, int]) -> tuple[int, int]:
    if arguments.image_size is None:
        return default
    size = (arguments.image_size[0], arguments.image_size[1])
    check_image_size(size)
    return size
