"""What the server says over HTTP, and how what it is asked is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from spyv4 import Detections, ReadOptions
from spyv4.choices import AUTO, Reads
from spyv4.closest import class_labels, did_you_mean
from spyv4.errors import ArgumentError
from spyv4.options import or_auto

AskedReads = Annotated[Reads, or_auto(Annotated[int, Field(ge=1)])]
"""`Reads` as clients ask for them; the most is the server's."""


class DetectParameters(BaseModel):
    """How to look at a picture."""

    reads: AskedReads
    score_threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    iou_threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    per_read: bool = False
    every: Annotated[int, Field(ge=1)] = 1
    classes: tuple[str, ...] = ()
    agnostic_nms: bool = False

    @field_validator("classes", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Names as the query has them: separated by commas."""
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())

    def options(self, defaults: ReadOptions) -> ReadOptions:
        """`defaults` with the values of this."""
        return replace(
            defaults,
            reads=self.reads,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            classes=self.classes,
            agnostic_nms=self.agnostic_nms,
        )


def settings_of(options: ReadOptions) -> dict[str, Any]:
    """What of the options clients may set."""
    names = DetectParameters.model_fields.keys() - {"per_read", "every"}
    return {name: getattr(options, name) for name in names}


def check_names(values: Mapping[str, Any]) -> None:
    """Raise `ArgumentError` where a client names a parameter that there is not."""
    known = DetectParameters.model_fields
    for name in values:
        if name not in known:
            raise ArgumentError(
                f"there is no parameter {name[:40]!r}{did_you_mean(name, known)}; "
                f"there are {', '.join(known)}"
            )


def check_parameters(
    values: Mapping[str, Any], defaults: ReadOptions, max_reads: int, class_names: Sequence[str]
) -> DetectParameters:
    """Checked parameters from those of `values` that have a known name and are not None.

    Args:
        values: what a client said.
        defaults: in place of what it did not say; resolved.
        max_reads: most reads that it may ask for.
        class_names: those it may name.

    Raises:
        ArgumentError: a value is out of range; the message names it.
    """
    known = DetectParameters.model_fields
    given = {name: values[name] for name in known if values.get(name) is not None}
    try:
        parameters = DetectParameters.model_validate(vars(defaults) | given)
    except ValidationError as error:
        raise ArgumentError(one_line(list(error.errors()))) from None
    if parameters.reads != AUTO and parameters.reads > max_reads:
        raise ArgumentError(f"reads: at most {max_reads} are allowed, not {parameters.reads}")
    class_labels(parameters.classes, class_names)
    return parameters


class Box(BaseModel):
    """One thing that was found."""

    class_name: str = Field(alias="class", description="name of the class")
    class_id: int = Field(description="index of the class")
    score: float = Field(description="0..1")
    box: tuple[float, float, float, float] = Field(
        description="left, top, right, bottom in pixels of the sent picture"
    )


class ReadResult(BaseModel):
    """The boxes after one read."""

    read: int
    detections: list[Box]
    firing_rates: dict[str, float] = Field(
        description="share of neurons that spiked at this read, by layer, shallow to deep"
    )


class DetectResponse(BaseModel):
    """The boxes after the last read."""

    width: int = Field(description="of the sent picture, in pixels")
    height: int
    reads: int = Field(description="how many were made")
    detections: list[Box]
    firing_rates: dict[str, float]
    timings_ms: dict[str, float] = Field(
        description="preprocess, network and decode; waiting in the queue; total in the server"
    )
    per_read: list[ReadResult] | None = Field(description="every read, where asked for")
    classes: list[str] = Field(description="names in the order of their class_id")


class FailedPicture(BaseModel):
    """What is wrong with one picture of several, in one line."""

    detail: str


class SeveralResponse(BaseModel):
    """What was found in each of several pictures, in their order."""

    results: list[DetectResponse | FailedPicture]


class FrameLine(ReadResult):
    """What was found in one frame of a clip: one line of many."""

    frame: int = Field(description="number in the clip, from 0")
    time_s: float = Field(description="when it is shown, from the start of the clip")
    width: int
    height: int


class LiveResponse(ReadResult):
    """The newest result of the live source."""

    frame: int
    latency_ms: float


class ErrorResponse(BaseModel):
    """What is wrong and what to do, in one line."""

    detail: str


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How a route describes the errors that it answers with."""
    return {status: {"model": ErrorResponse} for status in statuses}


class SourceHealth(BaseModel):
    """How a source is."""

    name: str
    state: str = Field(description="paused, opening, running, ended or lost")
    error: str | None = Field(description="why it was lost")
    per_second: float = Field(description="frames")


class EngineHealth(BaseModel):
    """How the network is run."""

    description: str
    build: str = Field(
        description="none, building, done or failed: of what is compiled ahead of time"
    )
    read_ms: dict[str, float] = Field(
        description="of one picture, by every way that was timed here when it was first met"
    )


class Health(BaseModel):
    """How the server is."""

    state: str = Field(description="idle, running where somebody watches, or failed")
    sources: list[SourceHealth]
    version: str
    model: str
    classes: list[str] = Field(description="names in the order of their class_id")
    runtime: str
    engine: EngineHealth
    uptime_s: float
    viewers: int
    frames: dict[str, int] = Field(description="captured = consumed + dropped + pending")
    per_second: dict[str, float]
    latency_ms: dict[str, dict[str, float]] = Field(description="p50 and p95")
    queue: dict[str, int] = Field(description="pictures and reads that wait, and the most")


def boxes_of(detections: Detections) -> list[dict[str, Any]]:
    """Boxes as plain values."""
    return [
        {"class_id": int(label), **box}
        for label, box in zip(detections.labels, detections.to_list(), strict=True)
    ]


def rates_of(detections: Detections) -> dict[str, float]:
    """Firing rates, rounded."""
    return {layer: round(float(rate), 5) for layer, rate in detections.firing_rates.items()}


def timings_of(detections: Detections) -> dict[str, float]:
    """Milliseconds by stage, rounded."""
    return {stage: round(ms, 2) for stage, ms in detections.timings_ms.items()}


def read_result(detections: Detections) -> dict[str, Any]:
    """One read as plain values."""
    return {
        "read": detections.reads,
        "detections": boxes_of(detections),
        "firing_rates": rates_of(detections),
    }


def one_line(errors: list[Any]) -> str:
    """Pydantic's findings as one line that names the parameters."""
    parts = []
    for error in errors:
        place = ".".join(str(step) for step in error["loc"] if step not in ("query", "body"))
        given = error.get("input")
        came = "" if given is None or isinstance(given, dict) else f", not {str(given)[:40]!r}"
        message = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
        parts.append(f"{place or 'request'}: {message}{came}")
    return "; ".join(parts)
