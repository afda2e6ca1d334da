"""How a picture is looked at: the only place with these defaults."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, TypedDict

from pydantic import Field

from spyv4.closest import class_labels
from spyv4.config import MAX_READS, ModelConfig
from spyv4.validation import Count, Share, Whole, configuration


@configuration
class ReadOptions:
    """How a picture is looked at, in Python, by commands and over HTTP.

    Attributes:
        reads: how often, 1..256; None for the weights' own number.
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
    """

    reads: Annotated[int, Field(ge=1, le=MAX_READS)] | None = None
    score_threshold: Share | None = None
    iou_threshold: Share = 0.3
    max_detections: Count = 100
    activity: bool = False
    raster_layers: tuple[str, ...] = ()
    heat_layers: tuple[str, ...] = ()
    carry_state: bool = False
    start_seed: Whole | None = None
    classes: tuple[str, ...] = ()
    agnostic_nms: bool = False

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
