"""Configuration of a model: frozen, validated when built, stored in every checkpoint."""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Literal

from pydantic import Field

from spyv4.choices import MAX_READS, SPYV4, SPYV4_NANO
from spyv4.errors import ConfigError
from spyv4.validation import NotNegative, Positive, Share, configuration, require

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
STRIDE = 32
PHYSICAL_KINDS = ("izhikevich", "hodgkin-huxley")
"""Neurons whose potentials are in mV and whose steps are a millisecond."""

Side = Annotated[float, Field(gt=0, le=10_000)]
Anchor = tuple[Side, Side]


@configuration
class NeuronConfig:
    """The spiking neuron (reference section 2, paper equation 8).

    Attributes:
        kind: `ltc` as in the released detector, `adaptive-ltc` with the threshold of equation (8)
            that rises with recent spikes; `lif` and `adaptive-lif` with learned constant rates;
            `izhikevich` and `hodgkin-huxley` in physical units, for tasks on sequences alone;
            `leaky-relu` does not spike: the twin that shows what spiking costs; nor does
            `quantised-relu`, a twin on its way to spikes.
        threshold: potential above which a neuron spikes, > 0; 1 for neurons in physical units,
            whose models state their own in mV.
        fusion: `sum` feeds c + u to the branch of a rate (released detector, 14 M parameters),
            `concat` feeds [c, u] (as the paper writes it, 22 M); of LTC neurons.
        rate_bias: logit at which rates start.
        current_bias: value at which the input current starts, by its batch norm's bias. From rest
            a neuron spikes at the first read only if kappa c > theta: with 0 for both biases that
            is 2 % of the neurons of layer one and next to none of the deep ones.
        steps: spikes that a value of `quantised-relu` stands for.
        surrogate_gamma: height of the surrogate gradient, > 0.
        surrogate_h: share of the negative side lobes, 0..1.
        surrogate_sigma: width of the central lobe in units of potential, > 0.
        surrogate_scale: width of the side lobes relative to the central one, > 0.
    """

    kind: Literal[
        "ltc",
        "adaptive-ltc",
        "lif",
        "adaptive-lif",
        "izhikevich",
        "hodgkin-huxley",
        "leaky-relu",
        "quantised-relu",
    ] = "ltc"
    threshold: Positive = 1.0
    fusion: Literal["sum", "concat"] = "sum"
    rate_bias: float = 1.0
    current_bias: float = 0.3
    steps: Annotated[int, Field(ge=1, le=8)] = 2
    surrogate_gamma: Positive = 0.5
    surrogate_h: Share = 0.15
    surrogate_sigma: Positive = 0.3
    surrogate_scale: Positive = 6.0

    @property
    def spikes(self) -> bool:
        """Whether it does, as a twin's does not."""
        return self.kind not in ("leaky-relu", "quantised-relu")

    def __post_init__(self) -> None:
        require(
            self.kind not in PHYSICAL_KINDS or self.threshold == 1,
            f"threshold must be 1 for {self.kind} neurons, whose model states where they spike in "
            f"mV, not {self.threshold}; leave it out",
        )


@configuration
class HeadConfig:
    """One level of the detector's head.

    Attributes:
        layer: the spiking layer that an ordinary 1x1 convolution reads it from.
        anchors: (width, height) in pixels at the scale of the model's `image_size`.
    """

    layer: str
    anchors: Annotated[tuple[Anchor, ...], Field(min_length=1)]


@configuration
class InitConfig:
    """Where parameters start, but for the biases of neurons.

    Attributes:
        conv_std: standard deviation of the spiking layers' kernels, None for torch's own rule.
        norm_std: of batch norm's weights around 1.
        head_std: of the output convolutions' kernels, > 0.
        objectness: that every place starts with, in (0, 1); near the share of places with an
            object, or the first steps only push the objectness of empty places down.
        class_logit: logit at which every class starts.
    """

    conv_std: Positive | None = None
    norm_std: NotNegative = 0.0
    head_std: Positive = 0.01
    objectness: Annotated[float, Field(gt=0, lt=1)] = 0.01
    class_logit: float = -2.0


TINY_HEADS = (
    HeadConfig("p5_out", ((81, 82), (135, 169), (344, 319))),
    HeadConfig("p4_out", ((23, 27), (37, 58), (81, 82))),
)
"""Those of Tiny-YOLOv4 at 416 x 416; the largest fine anchor is the smallest coarse one."""
TINY_UNUSED: tuple[Anchor, ...] = ((10, 14),)
"""Tiny-YOLOv4's anchor 0, which no head has."""


@configuration
class ModelConfig:
    """What is needed to rebuild a network.

    Attributes:
        name: preset that the network grew from, for people.
        class_names: the classes in the order of the network's outputs.
        width_multiple: channels relative to the paper's network, > 0.
        image_size: (height, width) in pixels that it is trained at; it runs at others too.
        heads: the levels, coarse to fine.
        unused_anchors: (width, height) of shapes that compete for objects in training and belong
            to no head: what they win is nobody's; of the `yolov4` codec.
        codec: how raw outputs become boxes: `yolov4` as in the paper, `scaled` as in
            Scaled-YOLOv4 (see `spyv4.heads.codec`).
        neuron: the spiking neuron.
        init: where parameters start.
        dropout: share of the input channels of every spiking layer that is left out while
            training, as whole channels, 0..1.
        readout: `last` decodes the heads of the newest read alone; `leaky` a leaky average
            over the reads so far.
        readout_rate: share of the newest read in the leaky average, in (0, 1].
        reads: how often a picture is looked at by default, 1..256.
        score_threshold: least score that is shown by default, 0..1: where F1 was highest on the
            set that the weights were evaluated on (see `spyv4-eval --store-threshold`).
        box_voting: place a box where all boxes of its class that were found there say, and not
            where the best of them says (see `spyv4.heads.nms.vote`).
    """

    name: str = SPYV4
    class_names: Annotated[tuple[str, ...], Field(min_length=1)] = VOC_CLASSES
    width_multiple: Positive = 1.0
    image_size: tuple[int, int] = (416, 416)
    heads: Annotated[tuple[HeadConfig, ...], Field(min_length=1)] = TINY_HEADS
    unused_anchors: tuple[Anchor, ...] = TINY_UNUSED
    codec: Literal["yolov4", "scaled"] = "yolov4"
    neuron: NeuronConfig = field(default_factory=NeuronConfig)
    init: InitConfig = field(default_factory=InitConfig)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    readout: Literal["last", "leaky"] = "last"
    readout_rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    reads: Annotated[int, Field(ge=1, le=MAX_READS)] = 4
    score_threshold: Share = 0.5
    box_voting: bool = False

    def __post_init__(self) -> None:
        require(
            len(set(self.class_names)) == len(self.class_names),
            "class_names must not repeat a name",
        )
        check_image_size(self.image_size)
        require(
            self.neuron.kind not in PHYSICAL_KINDS,
            f"neuron.kind of a detector must not be {self.neuron.kind!r}: a read would be a "
            "millisecond of it, and runtimes and exports count on potentials that rest at 0; "
            "choose ltc, adaptive-ltc, lif or adaptive-lif",
        )

    @property
    def outputs_per_anchor(self) -> int:
        """Box (4), objectness (1) and one score a class."""
        return 5 + len(self.class_names)

    def resized(self, image_size: tuple[int, int]) -> "ModelConfig":
        """The same network for pictures of another (height, width), its anchors scaled along."""
        down, across = (new / old for new, old in zip(image_size, self.image_size, strict=True))

        def scaled(anchors: tuple[Anchor, ...]) -> tuple[Anchor, ...]:
            return tuple((round(w * across, 1), round(h * down, 1)) for w, h in anchors)

        heads = tuple(HeadConfig(head.layer, scaled(head.anchors)) for head in self.heads)
        unused = scaled(self.unused_anchors)
        return replace(self, image_size=image_size, heads=heads, unused_anchors=unused)


def height_and_width(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """An image size as (height, width): a single number is the side of a square.

    Raises:
        ConfigError: unless the sides are positive multiples of 32.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    check_image_size(size)
    return size


def check_image_size(image_size: tuple[int, int]) -> None:
    """Raise `ConfigError` unless (height, width) are positive multiples of 32."""
    require(
        len(image_size) == 2
        and all(isinstance(side, int) and side > 0 and side % STRIDE == 0 for side in image_size),
        f"image size must be (height, width) in positive multiples of {STRIDE}, "
        f"not {tuple(image_size)}",
    )


def check_reads(reads: int) -> None:
    """Raise `ConfigError` unless `reads` is in 1..256."""
    require(
        isinstance(reads, int) and 1 <= reads <= MAX_READS,
        f"reads must be a whole number from 1 to {MAX_READS}, not {reads}",
    )


MODEL_PRESETS: Mapping[str, ModelConfig] = {
    SPYV4: ModelConfig(),
    SPYV4_NANO: ModelConfig(
        name=SPYV4_NANO,
        width_multiple=0.25,
        codec="scaled",
        readout="leaky",
    ).resized((320, 320)),
}


def model_preset(name: str) -> ModelConfig:
    """The `ModelConfig` of a preset, by name."""
    if name not in MODEL_PRESETS:
        raise ConfigError(f"unknown model {name!r}; choose one of: {', '.join(MODEL_PRESETS)}")
    return MODEL_PRESETS[name]
