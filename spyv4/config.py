"""Configuration of a model: frozen, validated when built, stored in every checkpoint."""

import dataclasses
import difflib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from spyv4.errors import ConfigError

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
MAX_READS = 256

T = TypeVar("T")


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError` with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class NeuronConfig:
    """The liquid time-constant neuron (reference section 2, paper equation 8).

    Attributes:
        threshold: potential above which a neuron spikes, > 0.
        adaptive: threshold that rises with recent spikes, equation (8); off in the released
            detector.
        fusion: `sum` feeds c + u to the update-rate convolution (released detector, 14 M
            parameters), `concat` feeds [c, u] (as the paper writes it, 22 M).
        surrogate_gamma: height of the surrogate gradient, > 0.
        surrogate_h: share of the negative side lobes, 0..1.
        surrogate_sigma: width of the central lobe in units of potential, > 0.
        surrogate_scale: width of the side lobes relative to the central one, > 0.
    """

    threshold: float = 1.0
    adaptive: bool = False
    fusion: Literal["sum", "concat"] = "sum"
    surrogate_gamma: float = 0.5
    surrogate_h: float = 0.15
    surrogate_sigma: float = 0.3
    surrogate_scale: float = 6.0

    def __post_init__(self) -> None:
        for name in ("threshold", "surrogate_gamma", "surrogate_sigma", "surrogate_scale"):
            require(
                getattr(self, name) > 0,
                f"neuron.{name} must be greater than 0, not {getattr(self, name)}",
            )
        require(
            0 <= self.surrogate_h <= 1,
            f"neuron.surrogate_h must be in 0..1, not {self.surrogate_h}",
        )


Anchor = tuple[float, float]
TINY_ANCHORS: tuple[Anchor, ...] = (
    (10, 14),
    (23, 27),
    (37, 58),
    (81, 82),
    (135, 169),
    (344, 319),
)


@dataclass(frozen=True)
class ModelConfig:
    """What is needed to rebuild a network.

    Attributes:
        name: preset that the network grew from, for people.
        class_names: the classes in the order of the network's outputs.
        width_multiple: channels relative to the paper's network, > 0.
        image_size: (height, width) in pixels that pictures are stretched to by default;
            multiples of 32. Any other multiple of 32 works too.
        anchors: (width, height) in pixels at the scale of `image_size`.
        anchors_p5: indices of the anchors of the coarse head (stride 32).
        anchors_p4: indices of the anchors of the fine head (stride 16).
        neuron: the spiking neuron.
        readout: `last` decodes the heads of the newest read alone; `leaky` a leaky average
            over the reads so far.
        readout_rate: share of the newest read in the leaky average, in (0, 1].
        reads: how often a picture is looked at by default.
        score_threshold: least score that is shown by default, 0..1: where F1 was highest on the
            set that the weights were evaluated on (see `spyv4-eval --store-threshold`).
    """

    name: str = "spyv4"
    class_names: tuple[str, ...] = VOC_CLASSES
    width_multiple: float = 1.0
    image_size: tuple[int, int] = (416, 416)
    anchors: tuple[Anchor, ...] = TINY_ANCHORS
    anchors_p5: tuple[int, ...] = (3, 4, 5)
    anchors_p4: tuple[int, ...] = (1, 2, 3)
    neuron: NeuronConfig = field(default_factory=NeuronConfig)
    readout: Literal["last", "leaky"] = "last"
    readout_rate: float = 0.3
    reads: int = 4
    score_threshold: float = 0.5

    def __post_init__(self) -> None:
        require(len(self.class_names) > 0, "class_names must name at least one class")
        require(
            len(set(self.class_names)) == len(self.class_names),
            "class_names must not repeat a name",
        )
        require(
            self.width_multiple > 0,
            f"width_multiple must be greater than 0, not {self.width_multiple}",
        )
        check_image_size(self.image_size)
        check_reads(self.reads)
        require(
            0 < self.readout_rate <= 1,
            f"readout_rate must be greater than 0 and at most 1, not {self.readout_rate}",
        )
        require(
            0 <= self.score_threshold <= 1,
            f"score_threshold must be in 0..1, not {self.score_threshold}",
        )
        require(all(w > 0 and h > 0 for w, h in self.anchors), "anchors must have positive sides")
        for name in ("anchors_p5", "anchors_p4"):
            indices: tuple[int, ...] = getattr(self, name)
            require(len(indices) > 0, f"{name} must name at least one anchor")
            require(
                all(0 <= index < len(self.anchors) for index in indices),
                f"{name} must index the {len(self.anchors)} anchors, not {indices}",
            )

    @property
    def outputs_per_anchor(self) -> int:
        """Box (4), objectness (1) and one score a class."""
        return 5 + len(self.class_names)


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


def _scaled_anchors(side: int) -> tuple[Anchor, ...]:
    return tuple((round(w * side / 416), round(h * side / 416)) for w, h in TINY_ANCHORS)


MODEL_PRESETS: Mapping[str, ModelConfig] = {
    "spyv4": ModelConfig(),
    "spyv4-nano": ModelConfig(
        name="spyv4-nano",
        width_multiple=0.25,
        image_size=(320, 320),
        anchors=_scaled_anchors(320),
        readout="leaky",
    ),
}


def model_preset(name: str) -> ModelConfig:
    """The `ModelConfig` of a preset, by name."""
    if name not in MODEL_PRESETS:
        raise ConfigError(f"unknown model {name!r}; choose one of: {', '.join(MODEL_PRESETS)}")
    return MODEL_PRESETS[name]


def to_mapping(config: Any) -> dict[str, Any]:
    """A configuration as plain values, ready for JSON."""
    return dataclasses.asdict(config)


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build the dataclass `cls` from plain values (JSON, TOML).

    Raises:
        ConfigError: for an unknown key (with the closest known one) or a value of another type.
    """
    require(isinstance(values, Mapping), f"{where.rstrip('.') or 'it'} must be a table of values")
    fields = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    built: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {where + close[0]!r}?" if close else ""
            raise ConfigError(f"unknown configuration key {where + key!r}{hint}")
        built[key] = _convert(hints[key], value, where + key)
    return cls(**built)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `hint`, or a `ConfigError` that names `where`."""
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where + ".")  # type: ignore[arg-type]
    if origin is Literal:
        require(value in args, f"{where} must be one of {args}, not {value!r}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        require(isinstance(value, list | tuple), f"{where} must be a list, not {value!r}")
        fixed = args[-1] is not Ellipsis
        require(
            not fixed or len(value) == len(args),
            f"{where} must be a list of {len(args)}, not {value!r}",
        )
        return tuple(_convert(args[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    require(
        isinstance(value, hint) and (hint is bool or not isinstance(value, bool)),
        f"{where} must be of type {getattr(hint, '__name__', hint)}, not {value!r}",
    )
    return value
