"""How a picture is looked at: the only place with these defaults."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    ValidationError,
)
from pydantic_core import PydanticCustomError, PydanticKnownError, core_schema

from spyv4.choices import (
    AGREE_IOU,
    AGREE_MARGIN,
    AGREE_SCORE,
    AUTO,
    AUTO_READS,
    IOU_THRESHOLD,
    MAX_READS,
    Reads,
)
from spyv4.closest import class_labels
from spyv4.config import ModelConfig
from spyv4.validation import Count, Share, Whole, configuration


def or_auto(number: Any) -> GetPydanticSchema:
    """How pydantic checks `Reads` whose numbers are of the type `number`.

    A union would report all of its kinds at every mistake.
    """

    def check(value: Any, as_number: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if value == AUTO:
            return value
        try:
            return as_number(value)
        except ValidationError as error:
            if error.errors()[0]["type"] in ("greater_than_equal", "less_than_equal"):
                raise
            message = "Input should be a whole number of at least 1, or 'auto'"
            raise PydanticCustomError("reads", message) from None

    def schema(_: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        either = handler.generate_schema(number | Literal["auto"])
        inner = handler.generate_schema(number)
        return core_schema.no_info_wrap_validator_function(
            check,
            inner,
            json_schema_input_schema=either,
            serialization=core_schema.simple_ser_schema("any"),  # or a word would be none
        )

    return GetPydanticSchema(schema)


def _limited(value: Reads | None) -> Reads | None:
    if isinstance(value, int) and value < 1:
        raise PydanticKnownError("greater_than_equal", {"ge": 1})
    if isinstance(value, int) and value > MAX_READS:
        raise PydanticKnownError("less_than_equal", {"le": MAX_READS})
    return value


AnyReads = Annotated[Reads, or_auto(int)]
READ_LIMITS = AfterValidator(_limited)
"""Of numbers of reads, for `AnyReads` and `AnyReads | None`."""


class Thresholds(NamedTuple):
    """All of `ReadOptions` that decides which boxes are found in what the network gives."""

    score_threshold: float | None
    iou_threshold: float
    max_detections: int
    classes: tuple[str, ...]
    agnostic_nms: bool


@configuration
class ReadOptions:
    """How a picture is looked at, in Python, by commands and over HTTP.

    Attributes:
        reads: how often, 1..256; `auto` for until two successive reads agree, by the rule of
            `spyv4.anytime`; None for the weights' own number.
        score_threshold: least score of a box, 0..1; None for that of the weights.
        iou_threshold: boxes of a class that overlap more are one object, 0..1.
        max_detections: most boxes a picture.
        activity: report the firing rates of all layers.
        raster_layers: layers whose sampled spikes to report, from `Detector.layer_names`.
        heat_layers: layers of which to report where they spike.
        carry_state: start each frame of a stream from the state the last one left (potentials,
            and the average of a leaky read-out), as the authors' webcam loop does, instead of anew.
        start_seed: start from potentials that are uniform in 0..1, drawn with this seed, as the
            authors' code does, instead of from rest; None for rest.
        classes: names of the classes to look for; all where there are none.
        agnostic_nms: boxes that overlap more than `iou_threshold` are one object even where their
            classes differ; the class of the highest score is kept.
        agree_iou: least IoU of two boxes that agree, 0..1; of `auto`, as all that follow.
        agree_score: most that their scores differ by, 0..1.
        agree_margin: boxes whose score is above `score_threshold` by less than this may be there at
            one read and not at the other, 0..1.
        max_reads: reads after which looking ends, agreed or not, 1..256.
    """

    reads: Annotated[AnyReads | None, READ_LIMITS] = None
    score_threshold: Share | None = None
    iou_threshold: Share = IOU_THRESHOLD
    max_detections: Count = 100
    activity: bool = False
    raster_layers: tuple[str, ...] = ()
    heat_layers: tuple[str, ...] = ()
    carry_state: bool = False
    start_seed: Whole | None = None
    classes: tuple[str, ...] = ()
    agnostic_nms: bool = False
    agree_iou: Share = AGREE_IOU
    agree_score: Share = AGREE_SCORE
    agree_margin: Share = AGREE_MARGIN
    max_reads: Annotated[int, Field(ge=1, le=MAX_READS)] = AUTO_READS

    @property
    def is_auto(self) -> bool:
        """Whether looking ends once two reads agree."""
        return self.reads == AUTO

    def most_reads(self, model: ModelConfig) -> int:
        """How many reads there are, at most where it is `auto`."""
        return self.max_reads if self.reads == AUTO else self.reads or model.reads

    @property
    def rule(self) -> tuple[float, float, float, int]:
        """The parameters of `auto`."""
        return self.agree_iou, self.agree_score, self.agree_margin, self.max_reads

    @property
    def thresholds(self) -> Thresholds:
        """Those that decide which boxes are found."""
        return Thresholds(*(getattr(self, name) for name in Thresholds._fields))

    @property
    def shows_activity(self) -> bool:
        """Whether firing rates or spikes are wanted."""
        return self.activity or bool(self.raster_layers or self.heat_layers)

    def resolved(self, model: ModelConfig) -> "ReadOptions":
        """With the weights' own numbers in place of None.

        Raises:
            ArgumentError: if they do not know a class; names the closest.
        """
        class_labels(self.classes, model.class_names)
        threshold = self.score_threshold
        return replace(
            self,
            reads=self.reads or model.reads,
            score_threshold=model.score_threshold if threshold is None else threshold,
        )


class ReadKeywords(TypedDict, total=False):
    """The fields of `ReadOptions` but `reads` as keywords of `Detector`'s methods."""

    score_threshold: float | None
    iou_threshold: float
    max_detections: int
    activity: bool
    raster_layers: Sequence[str]
    heat_layers: Sequence[str]
    carry_state: bool
    start_seed: int | None
    classes: Sequence[str]
    agnostic_nms: bool
    agree_iou: float
    agree_score: float
    agree_margin: float
    max_reads: int
