"""Configuration of a training run; the recipes in `training/recipes` are values of it."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from spyv4.choices import MAX_READS
from spyv4.config import ModelConfig
from spyv4.validation import Count, NotNegative, Positive, Share, Whole, configuration, require

Range = tuple[Positive, Positive]


@configuration
class LearnerConfig:
    """The learning rule (reference section 3; see `training.learning`).

    Attributes:
        kind: `plain` updates at every read, `fptt` with the regulariser besides; `fptt-k` and
            `tbptt` cut the reads in segments, go back through each and update after it, with and
            without the regulariser; `bptt` goes back through all reads and updates once; `eprop`
            carries eligibility traces forward instead, for tasks on sequences alone.
        updates: how often the parameters are updated a picture. For `fptt-k` and `tbptt` the
            number of segments; for `plain` and `fptt` the number of reads that learn, spread
            evenly, the last one among them, while the others run without gradients. 0 for 10
            segments, or all reads. `bptt` has one; `eprop` one unless told otherwise, and its
            traces go on from one update to the next.
        loss_at: whether a segment learns from its last read alone or from all of its reads.
        alpha: strength of the pull towards the running mean, > 0.
        update_alpha: alpha where it stands in the update of Lambda and Wbar, as in the authors'
            release, which has another value there; None for the same one.
        beta: rate of the running mean, in (0, 1].
        gradient_clip: largest norm of the gradient; 0 for no limit.
        adopt_running_mean: whether W <- Wbar at the end of every epoch.
    """

    kind: Literal["plain", "fptt", "fptt-k", "bptt", "tbptt", "eprop"] = "fptt"
    updates: Whole = 0
    loss_at: Literal["end", "every"] = "end"
    alpha: Positive = 0.1
    update_alpha: Positive | None = None
    beta: Annotated[float, Field(gt=0, le=1)] = 0.5
    gradient_clip: NotNegative = 1.0
    adopt_running_mean: bool = True

    @property
    def regularised(self) -> bool:
        """Whether there is a running mean."""
        return self.kind.startswith("fptt")

    @property
    def through_reads(self) -> bool:
        """Whether gradients go back from one read to those before it."""
        return self.kind not in ("plain", "fptt")


@configuration
class LossConfig:
    """The loss of one read; its fashion is that of the model's codec (see `training.loss`).

    Attributes:
        box_weight: of the CIoU term.
        objectness_weight: of the objectness term.
        class_weight: of the class term.
        balance: of the objectness of each head, in the order of the model's heads.
        label_smoothing: share of a label given to all classes alike, 0..1.
        objectness_iou_share: how far the objectness goal of a positive follows its IoU, 0..1;
            of the `scaled` fashion.
        ignore_iou: other places whose box overlaps what is marked difficult more than this are no
            background, 0..1; of the `yolov4` fashion those that overlap any object.
    """

    box_weight: NotNegative = 1.0
    objectness_weight: NotNegative = 1.0
    class_weight: NotNegative = 1.0
    balance: tuple[NotNegative, ...] = (1.0, 1.0)
    label_smoothing: Share = 0.01
    objectness_iou_share: Share = 0.5
    ignore_iou: Share = 0.5


@configuration
class DistillationConfig:
    """How teachers are listened to (see `training.distillation`).

    Attributes:
        score_weight: of the distance from a teacher's scores.
        feature_weight: of the distance from its features.
        answer_weight: of the distance from the answers of a twin's heads.
        layer_weight: of the distance from the activations of its layers.
    """

    score_weight: NotNegative = 1.0
    feature_weight: NotNegative = 1.0
    answer_weight: NotNegative = 1.0
    layer_weight: NotNegative = 1.0


@configuration
class OptimizerConfig:
    """The optimiser and its learning rate.

    Attributes:
        name: Adagrad as in the paper's detector, Adam or Adamax as in its other tasks, or another.
        learning_rate: peak, > 0.
        weight_decay: decoupled for adamw and muon.
        schedule: `constant`; `cosine` or `linear` down to `final_share` of the peak at the end;
            `step` to `step_factor` of what it was after each of `step_at`.
        step_at: shares of the run, rising, each in 0..1.
        step_factor: in (0, 1].
        final_share: 0..1.
        warmup_steps: batches over which the rate rises from 0.
        ema_decay: decay a batch of the exponential average of the parameters that is evaluated
            and saved, in [0, 1); 0 for none.
    """

    name: Literal["adagrad", "adam", "adamax", "adamw", "muon", "sgd"] = "adagrad"
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.0
    schedule: Literal["constant", "cosine", "linear", "step"] = "constant"
    step_at: tuple[Share, ...] = (0.6, 0.85)
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    final_share: Share = 0.01
    warmup_steps: Whole = 0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def __post_init__(self) -> None:
        require(
            list(self.step_at) == sorted(self.step_at),
            f"optimizer.step_at must rise, not be {self.step_at}",
        )


@configuration
class AugmentationConfig:
    """How training pictures are varied.

    Attributes:
        flip_probability: share of pictures that are mirrored, 0..1.
        scale: range of the zoom relative to the plain stretch, drawn evenly, > 0.
        aspect: largest change of the aspect ratio either way, 0.25 for up to 5:4.
        mosaic_probability: share of samples put together from four pictures, 0..1.
        mosaic_epochs: mosaics are made while epoch < this; None for every epoch.
        mosaic_scale: range of the zoom of the pictures in a mosaic, > 0.
        mosaic_margin: least distance of the corner where the four meet from the border, as a
            share of the side, in (0, 0.5].
        colour_probability: share of samples whose colours change, 0..1.
        brightness: largest relative change of the brightness, 0..1.
        contrast: largest relative change of the contrast, 0..1.
        saturation: largest relative change of the saturation, 0..1.
        hue: largest turn of the hue, as a share of the circle, 0..0.5.
        multi_scale: how far the height of the images may be from the nominal one, as a share of it,
            in [0, 1): every batch has a size of its own, drawn evenly in steps of 32 pixels, widths
            in proportion; 0 for the nominal size always, which evaluation has in any case.
        min_visible: boxes with a smaller share of their area left on the sample are dropped, 0..1.
        min_side_px: boxes with a shorter side on the sample are dropped, in pixels, > 0.
    """

    flip_probability: Share = 0.5
    scale: Range = (0.5, 1.6)
    aspect: NotNegative = 0.25
    mosaic_probability: Share = 0.5
    mosaic_epochs: Whole | None = None
    mosaic_scale: Range = (0.4, 1.0)
    mosaic_margin: Annotated[float, Field(gt=0, le=0.5)] = 0.3
    colour_probability: Share = 0.8
    brightness: Share = 0.3
    contrast: Share = 0.3
    saturation: Share = 0.5
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    multi_scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    min_visible: Share = 0.25
    min_side_px: Positive = 3.0

    def __post_init__(self) -> None:
        for name in ("scale", "mosaic_scale"):
            low, high = getattr(self, name)
            require(low <= high, f"augmentation.{name} must be two rising numbers, not {low, high}")

    def mosaic_share(self, epoch: int) -> float:
        """Share of the samples of `epoch` that are mosaics."""
        over = self.mosaic_epochs is not None and epoch >= self.mosaic_epochs
        return 0.0 if over else self.mosaic_probability


@configuration
class TrainingConfig:
    """Everything that decides the outcome of a training run, except the pictures themselves.

    Attributes:
        model: the network.
        epochs: passes over the training set.
        batch_size: pictures a step.
        reads: reads of every picture, 1..256.
        min_reads: least number of reads where it varies evenly from batch to batch; 0 for always
            `reads`.
        precision: of activations; parameters and the optimiser are float32 always. `auto` takes
            the one that trains faster on this machine, measured when the run starts; a resumed
            run keeps it.
        freeze_batch_norm: normalise with the statistics of the initial weights, as at inference,
            instead of those of the batch; for fine-tuning.
        freeze: `backbone` leaves all layers up to csp3_d as they are, batch norm included; for
            fine-tuning.
        repeat_threshold: share of the pictures below which a class is shown more often, 0..1.
        seed: of initial parameters and of all data randomness.
        loss: what one read is judged by.
        learner: the learning rule.
        optimizer: optimiser and learning rate.
        augmentation: how pictures are varied.
        distillation: how teachers are listened to, where there are any.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    epochs: Count = 300
    batch_size: Count = 32
    reads: Annotated[int, Field(ge=1, le=MAX_READS)] = 4
    min_reads: Whole = 0
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    freeze_batch_norm: bool = False
    freeze: Literal["nothing", "backbone"] = "nothing"
    repeat_threshold: Share = 0.0
    seed: Whole = 0
    loss: LossConfig = field(default_factory=LossConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)

    def __post_init__(self) -> None:
        require(
            self.min_reads <= self.reads,
            f"min_reads must be in 0..{self.reads} (reads), not {self.min_reads}",
        )
        require(
            self.learner.kind != "eprop",
            "learner.kind of a detector must not be eprop: every weight of a convolution would "
            "need a trace for every place of every picture; choose plain, fptt, fptt-k, bptt or "
            "tbptt (spyv4-tasks has eprop)",
        )
        require(
            len(self.loss.balance) == len(self.model.heads),
            f"loss.balance must have one number a head, {len(self.model.heads)}, not "
            f"{len(self.loss.balance)}",
        )
