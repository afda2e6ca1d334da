r"""Ways to train a detector, each with the same computing time: learning rules, or beginnings.

    python -m training.benchmarks.equal_time learners --voc-root data/VOC --train VOC2012:train \
        --eval VOC2012:val --minutes 10 --runs runs/learners --json learners.json

Every run is a process of its own, with one thread, that trains the nano network from nothing for
`--minutes` of processor time (so that other work beside it does not count) and is then evaluated.
Runs whose result lies in `--runs` already are not repeated.
"""

import argparse
import copy
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spyv4.commandline import build_parser, run_command
from spyv4.config import model_preset
from spyv4.detector import Detector
from spyv4.errors import ConfigError
from spyv4.network.spyv4 import SPYv4
from spyv4.threads import use_threads
from spyv4.validation import from_mapping, to_mapping
from training.benchmarks.figures import curve, figure, write_json
from training.benchmarks.ways import COMPARISONS, WAYS, Way
from training.config import TrainingConfig
from training.data import LoaderOptions, TrainingLoader, read_split
from training.evaluate.ground_truth import ground_truth_of
from training.evaluate.runner import run_detector
from training.evaluate.scores import score_predictions
from training.initial_weights import some_pictures
from training.interrupts import Interrupts
from training.loop import Trainer
from training.report.log import RunLog, StepReport
from training.resolve import TWIN, recipe
from training.run_state import RunState
from training.runs import RunFolder
from training.warm_start import start_from_twin

READS = (1, 2, 4, 8)


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


def run_one(arguments: argparse.Namespace, name: str, seed: int, path: Path) -> None:
    """Train and evaluate in one way; writes the result to `path`."""
    use_threads(1)
    way, twin = WAYS[name], None
    folder = RunFolder(path.with_suffix(""))
    minutes = way.twin_share * arguments.minutes
    if minutes > 0:
        first, _, _ = _train(
            arguments, way, _config(arguments, TWIN, seed), (minutes, folder, None)
        )
        with first.state.evaluated():
            twin = copy.deepcopy(first.state.model).eval()
    config = _config(arguments, way.settings, seed)
    trainer, budget, pictures = _train(
        arguments, way, config, (arguments.minutes - minutes, folder, twin)
    )
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    found = {
        "rule": name,
        "learner": to_mapping(config.learner),
        "seed": seed,
        "minutes": arguments.minutes,
        "image_size": config.model.image_size,
        "images_per_s": budget.images / (60 * budget.minutes),
        "epochs": budget.images / pictures,
        "peak_memory_mib": peak_mib,
        "penalty_ratio": sum(budget.ratios) / max(len(budget.ratios), 1),
    }
    write_json(path, found | _evaluated(arguments, trainer))


def _train(
    arguments: argparse.Namespace,
    way: Way,
    config: TrainingConfig,
    begin: tuple[float, RunFolder, SPYv4 | None],
) -> tuple[Trainer, Budget, int]:
    """Train for minutes in a folder, from a twin if there is one; on how many pictures."""
    minutes, folder, twin = begin
    if way.taught and arguments.teacher is None:
        raise ConfigError("these ways need --teacher")
    torch.manual_seed(config.seed)
    images = read_split(arguments.voc_root, arguments.train, config.model.class_names)
    loader = TrainingLoader(
        images,
        config,
        LoaderOptions(cache_side=2 * arguments.image_size),
        teacher=arguments.teacher if way.taught else None,
    )
    loader.prepare()
    model = SPYv4(config.model)
    if twin is not None:
        start_from_twin(model, twin, some_pictures(loader, config.model.image_size))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trainer = Trainer(RunState(model, loader, config), loader, folder, save_every_s=1e9)
    stop = Interrupts()
    with Budget(folder.path, minutes, stop) as budget:
        trainer.run(budget, stop=stop)
    return trainer, budget, len(images)


def _evaluated(arguments: argparse.Namespace, trainer: Trainer) -> dict[str, Any]:
    """What the network does at every number of reads."""
    names = trainer.state.config.model.class_names
    held_out = read_split(arguments.voc_root, arguments.eval, names)
    with trainer.state.evaluated():
        detector = Detector.from_model(trainer.state.model, precision="float32")
        found = run_detector(detector, held_out, READS)
    truth = ground_truth_of(held_out, names)
    scores = {
        reads: score_predictions(result.predictions, truth, coco=False)
        for reads, result in found.items()
    }
    subset = arguments.report_classes
    return {
        "map": {str(reads): value.mean_ap(subset) for reads, value in scores.items()},
        "firing_rate": {str(reads): result.firing_rate for reads, result in found.items()},
    }


def _config(
    arguments: argparse.Namespace, settings: Mapping[str, Any], seed: int
) -> TrainingConfig:
    """The recipe `nano` at a small size, with a constant learning rate and an average."""
    values = recipe("nano")
    model = model_preset("spyv4-nano").resized((arguments.image_size, arguments.image_size))
    values["model"] = to_mapping(model) | values["model"] | {"reads": 4}
    values |= {"seed": seed, "epochs": 1000, "precision": "float32"}
    values["optimizer"] |= {"learning_rate": 2e-3, "schedule": "constant", "warmup_steps": 50}
    for key, value in settings.items():
        values[key] = values[key] | value if isinstance(value, dict) else value
    return from_mapping(TrainingConfig, values)


def table(results: list[dict[str, Any]]) -> str:
    """One row a way, means over seeds, in Markdown."""
    lines = [
        "| rule | penalty / task gradient | images/s | epochs | peak MiB | "
        + " | ".join(f"mAP-15 at {reads}, %" for reads in READS)
        + " |",
        "|---" * (5 + len(READS)) + "|",
    ]
    for rule in WAYS:
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
    """Draw mAP against reads, one curve a way and a faint one a seed."""
    with figure(path) as (ax,):
        for index, rule in enumerate(dict.fromkeys(result["rule"] for result in results)):
            rows = [result for result in results if result["rule"] == rule]
            curves = [[100 * row["map"][str(reads)] for reads in READS] for row in rows]
            curve(ax, READS, [sum(v) / len(v) for v in zip(*curves, strict=True)], index, rule)
            for values in curves:
                curve(ax, READS, values, index, "", alpha=0.25)
        ax.set(xscale="log", xlabel="reads of a picture", ylabel="mAP@0.5, %", ylim=(0, None))
        ax.set_xticks(READS, [str(reads) for reads in READS])
        ax.minorticks_off()
        ax.legend(frameon=False, fontsize=8)


def main(argv: list[str] | None = None) -> int:
    """The command."""
    parser = build_parser(
        "training.benchmarks.equal_time",
        "Compare learning rules, or ways to start, in detection at equal computing time.",
        "python -m training.benchmarks.equal_time starts --voc-root data/VOC --minutes 10",
    )
    parser.add_argument("comparison", choices=list(COMPARISONS))
    parser.add_argument("--teacher", type=Path, help="YOLOX as an .onnx file, for the starts")
    parser.add_argument("--voc-root", type=Path, required=True)
    parser.add_argument("--train", default="VOC2007:trainval,VOC2012:trainval")
    parser.add_argument("--eval", default="VOC2007:test")
    parser.add_argument("--report-classes", type=lambda text: text.split(","), default=None)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--parallel", type=int, default=1, help="runs at the same time")
    parser.add_argument("--runs", type=Path, default=Path("runs/equal-time"))
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
        for rule in COMPARISONS[arguments.comparison]
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
