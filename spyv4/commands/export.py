"""`spyv4-export`: the network as a file for other runtimes."""

import argparse
from pathlib import Path

from spyv4.commandline import build_parser, run_command
from spyv4.commands.options import add_image_size, image_size
from spyv4.errors import ArgumentError
from spyv4.extras import require_extra


def export_command(argv: list[str] | None = None) -> int:
    """The console script."""
    parser = build_parser(
        "spyv4-export",
        "Write the one-read step (images, state -> head maps, spikes, state) as ONNX and check it, "
        "or a network of LIF neurons as NIR.",
        "spyv4-export --output spyv4.onnx",
    )
    parser.add_argument("--weights", help="name or file (the shipped default)")
    parser.add_argument(
        "--output", type=Path, required=True, help="the .onnx file to write, or .nir (docs/nir.md)"
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "int8"),
        default="float32",
        help="of the spiking convolutions in ONNX: in 8 bits a spike is exact, weights are rounded",
    )
    add_image_size(parser)
    return run_command(parser, _export, argv)


def _export(arguments: argparse.Namespace) -> int:
    if arguments.output.suffix == ".nir":
        return _export_nir(arguments)
    require_extra("onnx", "ONNX export and its check")
    from spyv4.runtime.onnx_check import check_export
    from spyv4.runtime.onnx_export import export_onnx
    from spyv4.weights import load_weights

    model = load_weights(arguments.weights)
    size = image_size(arguments, model.config.image_size)
    if arguments.output.suffix != ".onnx":
        raise ArgumentError(f"--output must end in .onnx or .nir, not {arguments.output.name!r}")
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


def _export_nir(arguments: argparse.Namespace) -> int:
    if arguments.precision != "float32":
        raise ArgumentError("--precision is for .onnx files; a .nir file is in float32")
    require_extra("nir", "NIR files")
    from spyv4.runtime.nir_export import export_nir
    from spyv4.weights import load_weights

    model = load_weights(arguments.weights)
    size = image_size(arguments, model.config.image_size)
    export_nir(model, arguments.output, size)
    print(f"wrote {arguments.output} for pictures of {size[0]} x {size[1]}; a read is a step of it")
    return 0
