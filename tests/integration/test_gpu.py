"""What only a CUDA GPU can show; run with `pytest -m gpu`."""

import copy
import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from spyv4 import SPYv4
from spyv4.errors import RuntimeUnavailableError
from spyv4.runtime.torch_runtime import TorchRuntime, pick_device
from spyv4.validation import to_mapping
from tests.helpers.tiny_model import firing_rates, tiny_model
from tests.helpers.tiny_teacher import write_teacher
from tests.integration.training_runs import recipe
from training.config import AugmentationConfig
from training.data import Batch, TrainingLoader
from training.data.canvas import Canvas
from training.data.layout import Layouts
from training.distillation.teacher import Teacher
from training.loop import Trainer
from training.run_state import RunState
from training.runs import RunFolder

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
def test_asking_for_a_gpu_without_one_is_an_error() -> None:
    with pytest.raises(RuntimeUnavailableError, match="--device cpu"):
        pick_device("cuda")


@pytest.mark.gpu
@needs_gpu
def test_gpu_agrees_with_cpu_in_float32() -> None:
    model = tiny_model()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    rates = []
    for device in ("cpu", "cuda"):
        runtime = TorchRuntime(copy.deepcopy(model), torch.device(device), precision="float32")
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            rates.append(firing_rates(runtime, images))
    # A potential within rounding of its threshold may spike on one side alone.
    torch.testing.assert_close(rates[0], rates[1], atol=0.01, rtol=0.0)


def gpu_trainer(tmp_path: Path, **changes: Any) -> Trainer:
    """A trainer of the tiny network on the GPU; batches are given by hand."""
    config = recipe(**changes)
    loader = cast(
        "TrainingLoader", SimpleNamespace(steps_per_epoch=100, fingerprint="", teacher=None)
    )
    model = SPYv4(config.model).to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = RunState(model, loader, config)
    state.train_mode()
    return Trainer(state, loader, RunFolder(tmp_path), compile_step=False)


def batch() -> Batch:
    """As the loader hands it out: in page-locked memory."""
    images = torch.randint(0, 255, (4, 3, 64, 64), dtype=torch.uint8).pin_memory()
    targets = torch.tensor([[i, i, 30.0, 30.0, 20.0, 24.0] for i in range(4)])
    return Batch(images, targets.pin_memory())


@pytest.mark.gpu
@needs_gpu
def test_memory_of_training_does_not_grow_with_the_reads(tmp_path: Path) -> None:
    peaks = []
    for reads in (1, 16):
        gc.collect()  # networks of other tests, and of the round before
        trainer = gpu_trainer(tmp_path, reads=reads)
        trainer.train_batch(batch())
        torch.cuda.reset_peak_memory_stats()
        trainer.train_batch(batch())
        peaks.append(torch.cuda.max_memory_allocated())
        del trainer
    assert peaks[1] <= 1.05 * peaks[0]


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("codec", ["scaled", "yolov4"])
@pytest.mark.parametrize("rule", ["fptt", "fptt-k"])
def test_a_batch_does_not_wait_for_the_gpu(tmp_path: Path, codec: str, rule: str) -> None:
    """Nothing between two entries of the log makes the processor wait."""
    model = to_mapping(recipe().model) | {"codec": codec}
    trainer = gpu_trainer(
        tmp_path,
        model=model,
        reads=4,
        learner={"kind": rule, "updates": 2},
        optimizer={"name": "adamw", "ema_decay": 0.9},
    )
    trainer.train_batch(batch())  # what is made once may wait
    waiting = batch()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.train_batch(waiting)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@needs_gpu
def test_samples_drawn_on_the_gpu_are_those_of_the_processor() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (50, 60, 3), np.uint8) for _ in range(8)]
    objects = [np.array([[0.1, 0.2, 0.6, 0.7, 1]], np.float32)] * 8
    layout, _ = Layouts(AugmentationConfig(), objects).draw(
        np.arange(8), rng.integers(0, 8, (8, 3)), (64, 96), 0.5, rng
    )
    one, other = (
        Canvas(pictures, 8, (96, 96), torch.device(name)).draw(layout, (64, 96)).cpu().int()
        for name in ("cpu", "cuda")
    )
    # Roundings may choose the other neighbour at the border of a picture.
    assert ((one - other).abs() <= 1).float().mean() > 0.999


@pytest.mark.gpu
@needs_gpu
def test_a_teacher_on_the_gpu_answers_as_on_the_processor(tmp_path: Path) -> None:
    path = write_teacher(tmp_path / "teacher.onnx")
    images = torch.randint(0, 256, (4, 3, 64, 96), dtype=torch.uint8)
    wanted = Teacher(path, ("dog", "person"))(images)
    found = Teacher(path, ("dog", "person"), torch.device("cuda"))(images.cuda())
    pairs = zip((*found.scores, *found.features), (*wanted.scores, *wanted.features), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one.cpu(), other, atol=0.02, rtol=0.02)
