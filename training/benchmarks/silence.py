"""How much of the arithmetic a network could skip because nothing spikes there.

    python -m training.benchmarks.silence PICTURE ... --json silence.json

A convolution of spikes is its bias wherever all that it covers is silent. Where that holds for a
whole window (all channels) or a whole channel (all places), the multiplications need not be made.
This is the most that skipping could save, before what finding the silent parts costs. The
convolutions of the update rates take half of the arithmetic and see potentials, which are never
silent.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from spyv4.commandline import build_parser, positive, run_command
from spyv4.network.spyv4 import SPYv4, message
from spyv4.network.table import ROWS
from spyv4.preprocess import to_images
from spyv4.reading import see
from spyv4.weights import load_weights
from training.benchmarks.figures import write_json


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "python -m training.benchmarks.silence",
        "Count windows and channels in which nothing spikes.",
        "python -m training.benchmarks.silence photos/*.jpg --json silence.json",
    )
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--weights", help="name or file (the shipped default)")
    parser.add_argument("--reads", type=positive, default=4, help="(%(default)s)")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    model = load_weights(arguments.weights).fold()
    pictures = [path.read_bytes() for path in arguments.pictures]
    images = to_images(see(pictures, model.config.image_size).pixels)
    report = silence(model, images, arguments.reads)
    write_json(arguments.json, report)
    for row in report["layers"]:
        print(
            f"{row['layer']:>8}: {row['ones']:5.1%} ones, {row['silent_windows']:5.1%} of the "
            f"windows silent, {row['silent_channels']:5.1%} of the channels"
        )
    print(f"of all multiplications by spikes: {report['saved_at_most']:.1%} at most")
    return 0


@torch.inference_mode()
def silence(model: SPYv4, images: Tensor, reads: int) -> dict[str, Any]:
    """Shares of silent windows and channels of every layer's input, mean over pictures and reads.

    Args:
        model: folded.
        images: RGB [B, 3, H, W] in 0..1.
        reads: from rest.
    """
    current = model.current(images)
    state = model.initial_state(len(images), (images.shape[2], images.shape[3]))
    rows: dict[str, list[tuple[float, float, float]]] = {row.name: [] for row in ROWS[1:]}
    cost: dict[str, float] = {}
    for _ in range(reads):
        _, state, spikes = model.step_from_current(current, state)
        for row in ROWS[1:]:
            received = message(row, spikes)
            windows = functional.max_pool2d(
                received.amax(1, keepdim=True), row.kernel, row.stride, row.kernel // 2
            )
            channels = received.amax((2, 3))
            rows[row.name].append(
                (_mean(received), _mean((windows == 0).float()), _mean((channels == 0).float()))
            )
            cost[row.name] = row.kernel**2 * received.shape[1] * float(windows[0].numel())
            cost[row.name] *= model.channels[row.name]
    layers = []
    for name, values in rows.items():
        ones, windows_share, channels_share = (
            sum(each) / reads for each in zip(*values, strict=True)
        )
        layers.append(
            {
                "layer": name,
                "ones": ones,
                "silent_windows": windows_share,
                "silent_channels": channels_share,
            }
        )
    saved = sum(
        cost[row["layer"]] * max(row["silent_windows"], row["silent_channels"]) for row in layers
    )
    return {"layers": layers, "reads": reads, "saved_at_most": saved / sum(cost.values())}


def _mean(values: Tensor) -> float:
    return values.mean().item()


if __name__ == "__main__":
    sys.exit(main())
