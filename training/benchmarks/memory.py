"""Memory of training against the number of reads: FPTT's is flat, back-propagation's grows.

python -m training.benchmarks.memory --json docs/memory.json --figure docs/memory.png
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch

from spyv4.commandline import build_parser, run_command
from spyv4.config import model_preset
from spyv4.network.spyv4 import SPYv4
from spyv4.threads import use_threads
from spyv4.validation import from_mapping, to_mapping
from training.benchmarks.figures import curve, figure, write_json
from training.config import TrainingConfig
from training.data import Batch, TrainingLoader
from training.loop import Trainer
from training.memory import apart, mebibytes
from training.run_state import RunState
from training.runs import RunFolder

READS = (1, 2, 4, 8, 16, 32)
RULES = ("fptt", "bptt")
BATCH, SIDE = 8, 160


class Memory(NamedTuple):
    """MiB of a process: when everything was loaded, and at its peak."""

    before: float
    peak: float

    @property
    def training(self) -> float:
        """What training took."""
        return self.peak - self.before


def measure(rule: str, reads: int) -> Memory:
    """Two batches of the nano network in a process of its own (Linux).

    Args:
        rule: kind of learning rule.
        reads: of every picture; all are learned from.
    """
    found = apart(f"from training.benchmarks.memory import train; train({rule!r}, {reads})")
    return Memory(**found)


def train(rule: str, reads: int) -> None:
    """Train, and print the memory of this process as JSON."""
    use_threads(1)
    model = to_mapping(model_preset("spyv4-nano").resized((SIDE, SIDE)))
    settings: dict[str, Any] = {"model": model, "epochs": 1, "batch_size": BATCH, "reads": reads}
    settings |= {"precision": "float32", "learner": {"kind": rule, "loss_at": "every"}}
    config = from_mapping(TrainingConfig, settings)
    torch.manual_seed(0)
    loader = cast(
        "TrainingLoader", SimpleNamespace(steps_per_epoch=2, fingerprint="", teacher=None)
    )
    state = RunState(SPYv4(config.model), loader, config)
    trainer = Trainer(state, loader, RunFolder(Path()), compile_step=False)
    state.train_mode()
    images = torch.randint(0, 255, (BATCH, 3, SIDE, SIDE), dtype=torch.uint8)
    targets = torch.tensor([[i, i % 20, 90.0, 100.0, 60.0, 80.0] for i in range(BATCH)])
    before = mebibytes("VmRSS:")
    for _ in range(2):
        trainer.train_batch(Batch(images, targets))
    print(json.dumps(Memory(before, mebibytes("VmHWM:"))._asdict()))


def draw(found: dict[tuple[str, int], Memory], reads: Sequence[int], path: Path) -> None:
    """Peak memory against reads."""
    with figure(path) as (ax,):
        for index, rule in enumerate(RULES):
            peaks = [found[rule, count].peak for count in reads]
            curve(ax, reads, peaks, index, rule)
        ax.set(
            xlabel="reads of a picture", ylabel="peak memory of the process, MiB", ylim=(0, None)
        )
        ax.set_title(f"spyv4-nano, {SIDE} x {SIDE} pixels, batch {BATCH}, float32", fontsize=9)
        ax.legend(frameon=False)


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "training.benchmarks.memory",
        "Measure the memory of training under FPTT and back-propagation through time.",
        "python -m training.benchmarks.memory --json memory.json --figure memory.png",
    )
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    return run_command(parser, _main, argv)


def _main(arguments: argparse.Namespace) -> int:
    found = {(rule, reads): measure(rule, reads) for rule in RULES for reads in READS}
    rows = [
        {"rule": rule, "reads": reads, **memory._asdict()}
        for (rule, reads), memory in found.items()
    ]
    write_json(arguments.json, rows)
    if arguments.figure is not None:
        draw(found, READS, arguments.figure)
    for (rule, reads), memory in found.items():
        ratio = memory.peak / found[rule, 1].peak
        print(f"{rule:5} {reads:2} reads: peak {memory.peak:5.0f} MiB, x {ratio:.3f} of one read")
    return 0


if __name__ == "__main__":
    sys.exit(main())
