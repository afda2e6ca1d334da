"""Small training runs on drawn pictures."""

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten_with_path

from spyv4 import SPYv4
from spyv4.validation import from_mapping, to_mapping
from tests.helpers.tiny_model import tiny_config
from tests.helpers.voc_tree import CLASS_NAMES, Scene, Thing, write_voc_tree
from training.config import TrainingConfig
from training.data import LoaderOptions, TrainingLoader, read_split
from training.loop import Trainer
from training.report.log import RunLog, StepReport
from training.run_state import RunState
from training.runs import RunFolder

PICTURES, BATCH = 13, 4
STEPS = PICTURES // BATCH
TINY = (
    "model.width_multiple=0.125",
    'model.class_names=["cat", "dog", "bus", "car"]',
    'precision="float32"',
)


def draw_pictures(root: Path) -> Path:
    """Thirteen pictures of one coloured rectangle each, as VOC2012:train below `root`."""
    scenes = [
        Scene((90, 120), (Thing(CLASS_NAMES[i % 4], (8 + 2 * i, 6 + i, 60 + 4 * i, 60 + 2 * i)),))
        for i in range(PICTURES)
    ]
    write_voc_tree(root, scenes)
    return root


def recipe(**changes: Any) -> TrainingConfig:
    """A run of two epochs with all randomness of the data; tables in `changes` are merged."""
    values = to_mapping(TrainingConfig(model=tiny_config(class_names=CLASS_NAMES)))
    values |= {"epochs": 2, "batch_size": BATCH, "reads": 2, "precision": "float32", "seed": 3}
    for key, value in changes.items():
        values[key] = values[key] | value if isinstance(value, dict) else value
    return from_mapping(TrainingConfig, values)


def command(root: Path, run_dir: Path, *more: str, settings: tuple[str, ...] = TINY) -> list[str]:
    """A run of one epoch of the tiny network."""
    arguments = f"--voc-root {root} --train VOC2012:train --eval VOC2012:train --run {run_dir}"
    arguments += " --image-size 64 64 --epochs 1 --batch-size 4 --reads 1 --workers 0"
    arguments += " --device cpu --no-compile --no-tensorboard --no-eval"
    sets = [part for text in settings for part in ("--set", text)]
    return [*arguments.split(), *sets, *more]


def trainer(
    root: Path, run_dir: Path, config: TrainingConfig, *, workers: int = 0, augment: bool = True
) -> Trainer:
    """A fresh trainer on the CPU."""
    torch.manual_seed(config.seed)
    images = read_split(root, "VOC2012:train", CLASS_NAMES)
    loader = TrainingLoader(images, config, LoaderOptions(workers), augment=augment)
    run_dir.mkdir(parents=True, exist_ok=True)
    state = RunState(SPYv4(config.model), loader, config)
    return Trainer(state, loader, RunFolder(run_dir), compile_step=False)


class Log(RunLog):
    """Keeps all reports; asks the process to stop after `stop_after` batches of this run."""

    def __init__(self, run_dir: Path, stop_after: int = 0, number: int = signal.SIGTERM) -> None:
        super().__init__(run_dir, 1, tensorboard=False, progress=False)
        self.stop_after, self.number = stop_after, number
        self.reports: list[StepReport] = []

    def step(self, report: StepReport) -> None:
        self.reports.append(report)
        super().step(report)
        if len(self.reports) == self.stop_after:
            os.kill(os.getpid(), self.number)


def train(run: Trainer, stop_after: int = 0, number: int = signal.SIGTERM) -> list[StepReport]:
    """Run to the end, or until `stop_after` batches are done."""
    with Log(run.folder.path, stop_after, number) as log:
        complete = run.run(log)
    assert complete == (stop_after == 0)
    return log.reports


def assert_same_training(one: Trainer, other: Trainer) -> None:
    """Everything that a run consists of is equal to the last bit."""
    assert one.state.position == other.state.position
    mine, _ = tree_flatten_with_path(one.state.state_dict())
    theirs, _ = tree_flatten_with_path(other.state.state_dict())
    assert [path for path, _ in mine] == [path for path, _ in theirs]
    for (path, left), (_, right) in zip(mine, theirs, strict=True):
        same = torch.equal(left, right) if isinstance(left, Tensor) else left == right
        assert same, path
