r"""The learning rules in detection, each with the same computing time.

    python -m training.benchmarks.learners --voc-root data/VOC --train VOC2012:train \
        --eval VOC2012:val --minutes 10 --runs runs/learners --json learners.json

Every run is a process of its own, with one thread, that trains the nano network from nothing for
`--minutes` of processor time (so that other work beside it does not count) and is then evaluated.
Runs whose result lies in `--runs` already are not repeated.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from spyv4.commandline import build_parser, run_command
from spyv4.config import model_preset
from spyv4.detector import Detector
from spyv4.network.spyv4 import SPYv4
from spyv4.threads import use_threads
from spyv4.validation import from_mapping, to_mapping
from training.benchmarks.figures import curve, figure, write_json
from training.config import TrainingConfig
from training.data import LoaderOptions, TrainingLoader, read_split
from training.evaluate.ground_truth import ground_truth_of
from training.evaluate.runner import run_detector
from training.evaluate.scores import score_predictions
from training.interrupts import Interrupts
from training.loop import Trainer
from training.report.log import RunLog, StepReport
from training.resolve import recipe
from training.run_state import RunState
from training.runs import RunFolder

READS = (1, 2, 4, 8)
RULES: dict[str, dict[str, Any]] = {
    "plain": {"kind": "plain"},
    "fptt, alpha 0.1": {"kind": "fptt", "alpha": 0.1},
    "fptt, alpha 2": {"kind": "fptt", "alpha": 2.0},
    "fptt-k, 2 segments, alpha 0.1": {"kind": "fptt-k", "updates": 2, "alpha": 0.1},
    "tbptt, 2 segments": {"kind": "tbptt", "updates": 2},
    "bptt": {"kind": "bptt"},
}
"""All learn from every read; the strengths of FPTT are those where the penalty's gradient is about
a tenth of the task's, and about as large."""


class Budget(RunLog):
    """Asks a run to stop when its processor time is used up.

    The first batch, which compiles, is not counted.

    Args:
        run_dir: receives the log.
        minutes: processor time.
        stop: what the run looks at.
    """

    def __init__(self, run_dir: Path, minutes: float, stop: Interrupts) -> None:
        super().__init__(run_dir, 1, tensorboard=False, progress=False)
        self.minutes, self.stop = minutes, stop
        self.started = 0.0
        self.images = 0
        self.ratios: list[float] = []

    def step(self, report: StepReport) -> None:
        """Count it, and look at the clock."""
        super().step(report)
        if self.started == 0:
            self.started = time.process_time()
            return
        self.images += report.images
        if report.observation is not None:
            task, penalty, _ = report.observation
            self.ratios.append(float(penalty / task))
        self.stop.requested = time.process_time() - self.started > 60 * self.minutes


def run_one(arguments: argparse.Namespace, rule: str, seed: int, path: Path) -> None:
    """Train and evaluate under one rule; writes the result to `path`."""
    use_threads(1)
    config = _config(arguments, RULES[rule], seed)
    images = read_split(arguments.voc_root, arguments.train, config.model.class_names)
    torch.manual_seed(seed)
    loader = TrainingLoader(images, config, LoaderOptions(cache_side=2 * arguments.image_size))
    state = RunState(SPYv4(config.model).to(memory_format=torch.channels_last), loader, config)  # type: ignore[call-overload]
    folder = RunFolder(path.with_suffix(""))
    loader.prepare()
    stop = Interrupts()
    with Budget(folder.path, arguments.minutes, stop) as budget:
        Trainer(state, loader, folder, save_every_s=1e9).run(budget, stop=stop)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    with state.evaluated():
        detector = Detector.from_model(state.model, precision="float32")
        held_out = read_split(arguments.voc_root, arguments.eval, config.model.class_names)
        found = run_detector(detector, held_out, READS)
    truth = ground_truth_of(held_out, config.model.class_names)
    scores = {
        reads: score_predictions(result.predictions, truth, coco=False)
        for reads, result in found.items()
    }
    subset = arguments.report_classes
    write_json(
        path,
        {
            "rule": rule,
            "learner": to_mapping(config.learner),
            "seed": seed,
            "minutes": arguments.minutes,
            "image_size": config.model.image_size,
            "images_per_s": budget.images / (60 * arguments.minutes),
            "epochs": budget.images / len(images),
            "peak_memory_mib": peak_mib,
            "penalty_ratio": sum(budget.ratios) / max(len(budget.ratios), 1),
            "map": {str(reads): value.mean_ap(subset) for reads, value in scores.items()},
            "firing_rate": {str(reads): result.firing_rate for reads, result in found.items()},
        },
    )


def _config(arguments: argparse.Namespace, learner: dict[str, Any], seed: int) -> TrainingConfig:
    """The recipe `nano` at a small size, with a constant learning rate and an average."""
    values = recipe("nano")
    model = model_preset("spyv4-nano").resized((arguments.image_size, arguments.image_size))
    values["model"] = to_mapping(model) | values["model"] | {"reads": 4}
    values |= {"seed": seed, "epochs": 1000, "reads": 4, "min_reads": 0, "precision": "float32"}
    values["learner"] = {"loss_at": "every", "gradient_clip": 10.0, "adopt_running_mean": False}
    values["learner"] |= learner
    values["optimizer"] |= {"learning_rate": 2e-3, "schedule": "constant", "warmup_steps": 50}
    return from_mapping(TrainingConfig, values)


def table(results: list[dict[str, Any]]) -> str:
    """One row a rule, means over seeds, in Markdown."""
    lines = [
        "| rule | penalty / task gradient | images/s | epochs | peak MiB | "
        + " | ".join(f"mAP-15 at {reads}, %" for reads in READS)
        + " |",
        "|---" * (5 + len(READS)) + "|",
    ]
    for rule in RULES:
        rows = [result for result in results if result["rule"] == rule]
        if not rows:
            continue

        def mean(name: str, rows: list[dict[str, Any]] = rows) -> float:
            return float(sum(row[name] for row in rows) / len(rows))

        maps = []
        for reads in READS:
            values = [100 * row["map"][str(reads)] for row in rows]
            spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
            maps.append(f"{sum(values) / len(values):.2f}{spread}")
        lines.append(
            f"| {rule} | {mean('penalty_ratio'):.2g} | {mean('images_per_s'):.1f} | "
            f"{mean('epochs'):.1f} | {mean('peak_memory_mib'):.0f} | " + " | ".join(maps) + " |"
        )
    return "\n".join(lines)


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw mAP against reads, one curve a rule and a faint one a seed."""
    with figure(path) as (ax,):
        for index, rule in enumerate(RULES):
            rows = [result for result in results if result["rule"] == rule]
            if not rows:
                continue
            curves = [[100 * row["map"][str(reads)] for reads in READS] for row in rows]
            curve(ax, READS, [sum(v) / len(v) for v in zip(*curves, strict=True)], index, rule)
            for values in curves:
                curve(ax, READS, values, index, "", alpha=0.25)
        ax.set(xscale="log", xlabel="reads of a picture", ylabel="mAP@0.5, %")
        ax.set_xticks(READS, [str(reads) for reads in READS])
        ax.minorticks_off()
        ax.legend(frameon=False, fontsize=8)


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "training.benchmarks.learners",
        "Compare the learning rules in detection at equal computing time.",
        "python -m training.benchmarks.learners --voc-root data/VOC --minutes 10",
    )
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--train", default="VOC2007:trainval,VOC2012:trainval")
    parser.add_argument("--eval", default="VOC2007:test")
    parser.add_argument("--report-classes", type=lambda text: text.split(","), default=None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--parallel", type=int, default=1, help="runs at the same time")
    parser.add_argument("--runs", type=Path, default=Path("runs/learners"))
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figure", type=Path)
    return run_command(parser, _main, argv)


def _main(arguments: argparse.Namespace) -> int:
    cases = {
        arguments.runs / f"{''.join(c if c.isalnum() else '-' for c in rule)}-{seed}.json": (
            rule,
            seed,
        )
        for seed in range(arguments.seeds)
        for rule in RULES
    }
    waiting = [path for path in cases if not path.exists()]
    running: list[multiprocessing.process.BaseProcess] = []
    context = multiprocessing.get_context("spawn")
    while waiting or running:
        while waiting and len(running) < arguments.parallel:
            path = waiting.pop(0)
            running.append(context.Process(target=run_one, args=(arguments, *cases[path], path)))
            running[-1].start()
        time.sleep(0.2)
        if any(process.exitcode not in (None, 0) for process in running):
            return 1
        running = [process for process in running if process.exitcode is None]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in cases]
    write_json(arguments.json, results)
    if arguments.figure is not None:
        draw(results, arguments.figure)
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
