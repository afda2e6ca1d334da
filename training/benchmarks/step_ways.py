"""Two ways to do the same training step: the product's, and the plainest one."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, NamedTuple, cast

import torch
from torch.utils._pytree import tree_map

from spyv4.config import model_preset
from spyv4.network.spyv4 import SPYv4
from spyv4.runtime.torch_runtime import pick_device
from spyv4.validation import from_mapping, to_mapping
from training.allocator import keep_freed_memory
from training.config import TrainingConfig
from training.data import Batch, TrainingLoader
from training.loop import Trainer
from training.loss import build_loss
from training.precision import faster_training
from training.run_state import RunState
from training.runs import RunFolder

OBJECTS = 3


class Task(NamedTuple):
    """What is measured.

    Attributes:
        model: name of the network.
        image_size: (height, width) in pixels.
        batch_size: pictures a step.
        reads: of every picture, with an update after each.
        device: where.
    """

    model: str
    image_size: tuple[int, int]
    batch_size: int
    reads: int
    device: str

    @property
    def config(self) -> TrainingConfig:
        """Of the training, in float32."""
        model = to_mapping(model_preset(self.model).resized(self.image_size))
        settings = {"model": model, "epochs": 1, "batch_size": self.batch_size}
        settings |= {"reads": self.reads, "precision": "float32"}
        return from_mapping(TrainingConfig, settings)

    def batch(self) -> Batch:
        """Noise, with some objects a picture."""
        torch.manual_seed(1)
        images = torch.randint(0, 255, (self.batch_size, 3, *self.image_size), dtype=torch.uint8)
        count = OBJECTS * self.batch_size
        height, width = self.image_size
        sides = torch.tensor([width, height, width, height])
        targets = torch.empty(count, 6)
        targets[:, 0] = torch.arange(count) // OBJECTS
        targets[:, 1] = torch.randint(0, 20, (count,))
        targets[:, 2:] = (0.2 + 0.5 * torch.rand(count, 4)) * sides
        return Batch(images, targets)


class Way(NamedTuple):
    """A way to train.

    Attributes:
        step: trains on the batch.
        model: what is trained.
        description: the way.
        dtype: of its convolutions.
    """

    step: Callable[[], object]
    model: SPYv4
    description: str
    dtype: torch.dtype


def ours(task: Task) -> Way:
    """The product's step, as `spyv4-train` runs it here."""
    keep_freed_memory()
    precision = faster_training(SPYv4(task.config.model).to(pick_device(task.device)))
    return trainer_step(task, precision, compile_step=True)


def trainer_step(
    task: Task, precision: Literal["bfloat16", "float32"], *, compile_step: bool
) -> Way:
    """The product's step in a given precision."""
    device = pick_device(task.device)
    torch.manual_seed(0)
    model = SPYv4(task.config.model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    config = from_mapping(TrainingConfig, to_mapping(task.config) | {"precision": precision})
    loader = SimpleNamespace(steps_per_epoch=2**20, fingerprint="", teacher=None)
    state = RunState(model, cast("TrainingLoader", loader), config)
    trainer = Trainer(
        state, cast("TrainingLoader", loader), RunFolder(Path()), compile_step=compile_step
    )
    state.train_mode()
    batch = task.batch()
    if device.type == "cuda":
        batch = batch._replace(images=batch.images.pin_memory())
    what = f"{precision}, channels last, foreach update"
    if compile_step:
        what = f"compiled, {what}"
    return Way(lambda: trainer.train_batch(batch), model, what, getattr(torch, precision))


def plain(task: Task) -> Way:
    """FPTT written down as the equations stand, in float32."""
    device = pick_device(task.device)
    torch.manual_seed(0)
    config = task.config
    model = SPYv4(config.model).to(device)
    loss = build_loss(config.model, config.loss)
    optimizer = torch.optim.Adagrad(model.parameters(), lr=1e-3, foreach=False)
    weights = list(model.parameters())
    means = [w.detach().clone() for w in weights]
    multipliers = [torch.zeros_like(w) for w in weights]
    alpha, beta = config.learner.alpha, config.learner.beta
    batch = task.batch()

    def step() -> None:
        images = batch.images.to(device).float() / 255
        targets = batch.targets.to(device)
        state = model.initial_state(len(images), task.image_size)
        for _ in range(task.reads):
            state = tree_map(torch.Tensor.detach, state)
            maps, state = model.step(images, state)
            total = loss(maps, loss.assign(maps, targets), targets).total
            for w, mean, multiplier in zip(weights, means, multipliers, strict=True):
                total = total - (w * multiplier).sum() + alpha / 2 * (w - mean).square().sum()
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, config.learner.gradient_clip, foreach=False)
            optimizer.step()
            with torch.no_grad():
                for w, mean, multiplier in zip(weights, means, multipliers, strict=True):
                    multiplier -= alpha * (w - mean)
                    mean.mul_(1 - beta).add_(beta * w).sub_(beta / alpha * multiplier)

    model.train()
    what = "eager, float32, channels first, update in a Python loop"
    return Way(step, model, what, torch.float32)
