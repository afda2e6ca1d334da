"""Configuration of a training run; defaults are the paper's recipe (reference section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spyv4.config import ModelConfig, check_reads, require
from training.data.augment import AugmentationConfig


@dataclass(frozen=True)
class FPTTConfig:
    """Forward Propagation Through Time (reference section 3).

    Attributes:
        alpha: strength of the pull towards the running mean, >= 0; 0 turns it off.
        update_alpha: alpha where it stands in the update of Lambda and Wbar, as in the authors'
            release, which has another value there; 0 for the same one, which the equations have.
        beta: rate of the running mean, in (0, 1].
        updates: how many of the reads of a picture update the parameters (FPTT-K), spread evenly
            and always including the last one; 0 for all.
        gradient_clip: largest norm of the gradient; 0 for no limit.
        adopt_running_mean: whether W <- Wbar at the end of every epoch.
    """

    alpha: float = 0.1
    update_alpha: float = 0.0
    beta: float = 0.5
    updates: int = 0
    gradient_clip: float = 1.0
    adopt_running_mean: bool = True

    def __post_init__(self) -> None:
        require(self.alpha >= 0, f"fptt.alpha must be at least 0, not {self.alpha}")
        require(
            self.update_alpha >= 0,
            f"fptt.update_alpha must be at least 0, not {self.update_alpha}",
        )
        require(0 < self.beta <= 1, f"fptt.beta must be in (0, 1], not {self.beta}")
        require(self.updates >= 0, f"fptt.updates must be at least 0, not {self.updates}")
        require(
            self.gradient_clip >= 0,
            f"fptt.gradient_clip must be at least 0, not {self.gradient_clip}",
        )


@dataclass(frozen=True)
class LossConfig:
    """Weights of the YOLOv4 loss.

    Attributes:
        box_weight: of the CIoU term, >= 0.
        objectness_weight: of the objectness term, >= 0.
        class_weight: of the class term, >= 0.
        p5_balance: of the coarse head's objectness, >= 0.
        p4_balance: of the fine head's objectness, >= 0.
        label_smoothing: share of a label given to all classes alike, 0..1.
        objectness_iou_share: how far the objectness goal of a positive follows its IoU, 0..1.
    """

    box_weight: float = 1.0
    objectness_weight: float = 7.0
    class_weight: float = 3.0
    p5_balance: float = 0.5
    p4_balance: float = 1.0
    label_smoothing: float = 0.01
    objectness_iou_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("box_weight", "objectness_weight", "class_weight", "p5_balance", "p4_balance"):
            require(getattr(self, name) >= 0, f"loss.{name} must be at least 0")
        for name in ("label_smoothing", "objectness_iou_share"):
            require(0 <= getattr(self, name) <= 1, f"loss.{name} must be in 0..1")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser and its learning rate.

    Attributes:
        name: the paper's Adagrad, or another.
        learning_rate: peak, > 0.
        weight_decay: >= 0; decoupled for adamw.
        schedule: `constant`; `cosine` or `linear` down to `final_share` of the peak at the end.
        final_share: 0..1.
        warmup_steps: batches over which the rate rises from 0.
        ema_decay: decay a batch of the exponential average of the parameters that is evaluated
            and saved; 0 for none.
    """

    name: Literal["adagrad", "adamw", "sgd"] = "adagrad"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    final_share: float = 0.01
    warmup_steps: int = 0
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        require(self.learning_rate > 0, "optimizer.learning_rate must be greater than 0")
        require(self.weight_decay >= 0, "optimizer.weight_decay must be at least 0")
        require(0 <= self.final_share <= 1, "optimizer.final_share must be in 0..1")
        require(self.warmup_steps >= 0, "optimizer.warmup_steps must be at least 0")
        require(0 <= self.ema_decay < 1, "optimizer.ema_decay must be in [0, 1)")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the outcome of a training run, except the pictures themselves.

    Attributes:
        model: the network.
        epochs: passes over the training set, >= 1.
        batch_size: pictures a step, >= 1.
        reads: reads of every picture, 1..256.
        min_reads: least number of reads where it varies evenly from batch to batch; 0 for always
            `reads`.
        precision: of activations; parameters and the optimiser are float32 always.
        freeze_batch_norm: normalise with the statistics of the initial weights, as at inference,
            instead of those of the batch; for fine-tuning.
        repeat_threshold: share of the pictures below which a class is shown more often, 0..1.
        seed: of initial parameters and of all data randomness, >= 0.
        loss: weights of the loss.
        fptt: the learning rule.
        optimizer: optimiser and learning rate.
        augmentation: how pictures are varied.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    epochs: int = 300
    batch_size: int = 32
    reads: int = 4
    min_reads: int = 0
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    freeze_batch_norm: bool = False
    repeat_threshold: float = 0.0
    seed: int = 0
    loss: LossConfig = field(default_factory=LossConfig)
    fptt: FPTTConfig = field(default_factory=FPTTConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augmentation: AugmentationConfig = field(
        default_factory=lambda: AugmentationConfig(mosaic_epochs=200)
    )

    def __post_init__(self) -> None:
        require(self.epochs >= 1, f"epochs must be at least 1, not {self.epochs}")
        require(self.batch_size >= 1, f"batch_size must be at least 1, not {self.batch_size}")
        check_reads(self.reads)
        require(
            0 <= self.min_reads <= self.reads,
            f"min_reads must be in 0..{self.reads} (reads), not {self.min_reads}",
        )
        require(self.seed >= 0, f"seed must be at least 0, not {self.seed}")
        require(
            0 <= self.repeat_threshold <= 1,
            f"repeat_threshold must be in 0..1, not {self.repeat_threshold}",
        )


RECIPES: Mapping[str, dict[str, Any]] = {
    "paper": {},
    "released": {"fptt": {"alpha": 0.1, "update_alpha": 0.5}},
}
"""Named settings: the paper's equations, and the authors' release, whose alpha has two values."""
