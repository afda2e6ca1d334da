"""The detector: picture in, boxes out, after every read."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, Unpack, get_args, overload

import numpy as np
from numpy.typing import NDArray

from spyv4.activity import Activity
from spyv4.config import ModelConfig, check_image_size, check_reads
from spyv4.errors import ArgumentError
from spyv4.models.spyv4 import LAYER_NAMES, SPYv4, SPYv4State
from spyv4.ops.decode import RawDetections, decode
from spyv4.preprocess import Frame, Picture, boxes_to_picture, load_frame, to_images
from spyv4.runtime.base import Runtime, StepResult
from spyv4.runtime.torch_runtime import Precision, TorchRuntime, pick_device
from spyv4.types import Detections
from spyv4.weights import find_weights, load_weights

RuntimeName = Literal["auto", "torch", "onnx"]


class DetectOptions(TypedDict, total=False):
    """Keyword options that all ways of detecting share.

    Attributes:
        score_threshold: least score, 0..1; 0.5 when left out.
        iou_threshold: boxes of a class that overlap more are one object, 0..1; 0.3.
        max_detections: most boxes a picture; 100.
        activity: report the firing rates of all layers; off.
        raster_layers: layers whose sampled spikes to report, from `Detector.layer_names`; none.
    """

    score_threshold: float
    iou_threshold: float
    max_detections: int
    activity: bool
    raster_layers: Sequence[str]


@dataclass(frozen=True)
class _Options:
    """`DetectOptions` with its defaults, checked."""

    score_threshold: float = 0.5
    iou_threshold: float = 0.3
    max_detections: int = 100
    activity: bool = False
    raster_layers: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ArgumentError(f"{name} must be in 0..1, not {value}")
        if self.max_detections < 1:
            raise ArgumentError(f"max_detections must be at least 1, not {self.max_detections}")
        unknown = [name for name in self.raster_layers if name not in LAYER_NAMES]
        if unknown:
            raise ArgumentError(
                f"unknown layer {unknown[0]!r}; choose from: {', '.join(LAYER_NAMES)}"
            )


class Detector:
    """A spiking object detector.

    Args:
        runtime: runs the network.
        image_size: (height, width) that pictures are stretched to; the network's own by default.

    Raises:
        ConfigError: if a side of `image_size` is not a positive multiple of 32.
    """

    def __init__(self, runtime: Runtime, *, image_size: tuple[int, int] | None = None) -> None:
        self.runtime = runtime
        self.image_size = image_size or runtime.config.image_size
        check_image_size(self.image_size)

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        *,
        runtime: RuntimeName = "auto",
        device: str = "auto",
        precision: Precision = "auto",
        compile: bool = False,  # noqa: A002 (torch's own word for it)
        image_size: tuple[int, int] | None = None,
    ) -> "Detector":
        """Load a detector.

        Args:
            weights: name from weights/manifest.json, a .safetensors or .onnx file; the shipped
                default when left out.
            runtime: `torch` or `onnx`; `auto` takes onnx for a .onnx file, else torch.
            device: `cpu`, `cuda`, or `auto` for the GPU where there is one.
            precision: of the torch runtime.
            compile: run through `torch.compile`: slower to start, faster afterwards.
            image_size: (height, width), multiples of 32; the network's own by default.

        Raises:
            ArgumentError: if `runtime`, `device` or `precision` is none of the choices.
            CheckpointError: if the weights are missing, damaged or of another format.
            RuntimeUnavailableError: if the runtime or device is not available here.
        """
        if runtime not in get_args(RuntimeName):
            raise ArgumentError(
                f"runtime must be one of {', '.join(get_args(RuntimeName))}, not {runtime!r}"
            )
        path = find_weights(weights)
        if path.suffix == ".onnx" or runtime == "onnx":
            if runtime == "torch":
                raise ArgumentError(f"{path} needs the onnx runtime, not torch")
            # Imported here: it takes seconds, and most users never need it.
            from spyv4.runtime.onnx_runtime import OnnxRuntime, export_and_load, pick_providers

            if path.suffix == ".onnx":
                onnx = OnnxRuntime(path, pick_providers(device))
                return cls(onnx, image_size=image_size or onnx.image_size)
            model = load_weights(weights)
            size = image_size or model.config.image_size
            return cls(export_and_load(model, size, device), image_size=size)
        return cls(
            TorchRuntime(
                load_weights(weights),
                pick_device(device),
                precision=precision,
                compile_step=compile,
            ),
            image_size=image_size,
        )

    @classmethod
    def from_model(
        cls, model: SPYv4, *, device: str = "cpu", precision: Precision = "float32"
    ) -> "Detector":
        """A detector that owns `model`, whose batch norms it folds."""
        return cls(TorchRuntime(model, pick_device(device), precision=precision))

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return self.runtime.config

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The spiking layers, shallow to deep."""
        return LAYER_NAMES

    @overload
    def detect(
        self,
        image: list[Picture],
        reads: int | None = ...,
        **options: Unpack[DetectOptions],
    ) -> list[Detections]: ...
    @overload
    def detect(
        self, image: Picture, reads: int | None = ..., **options: Unpack[DetectOptions]
    ) -> Detections: ...
    def detect(
        self,
        image: Picture | list[Picture],
        reads: int | None = None,
        **options: Unpack[DetectOptions],
    ) -> Detections | list[Detections]:
        """Boxes after `reads` reads.

        Args:
            image: path, file bytes, BGR uint8 array [H, W, 3], PIL picture, or a list of them.
            reads: how often to look, 1..256; the network's own number by default.
            **options: see `DetectOptions`.

        Returns:
            One `Detections`, or a list for a list.

        Raises:
            ArgumentError: if an option is out of range.
            ConfigError: if `reads` is.
            ImageError: if a picture cannot be read.
        """
        pictures = image if isinstance(image, list) else [image]
        look = _Look(self, pictures, reads, _Options(**options))
        *_, last = look.results(last_only=True)
        return last if isinstance(image, list) else last[0]

    def reads(
        self, image: Picture, reads: int | None = None, **options: Unpack[DetectOptions]
    ) -> Iterator[Detections]:
        """Boxes after every read, first to last; arguments as for `detect`. Stop at any time."""
        return (batch[0] for batch in self.reads_batch([image], reads, **options))

    def reads_batch(
        self, images: Sequence[Picture], reads: int | None = None, **options: Unpack[DetectOptions]
    ) -> Iterator[list[Detections]]:
        """Boxes of several pictures after every read; arguments as for `detect`."""
        return _Look(self, images, reads, _Options(**options)).results()

    def stream(
        self,
        frames: Iterable[Picture],
        reads: int | None = None,
        *,
        carry_state: bool = False,
        **options: Unpack[DetectOptions],
    ) -> Iterator[Detections]:
        """Boxes of every frame of a video.

        Args:
            frames: pictures in their order.
            reads: reads of every frame.
            carry_state: start each frame from the potentials the last one left, as the authors'
                webcam loop does, instead of from rest.
            **options: see `DetectOptions`.
        """
        checked = _Options(**options)
        state: SPYv4State | None = None
        for frame in frames:
            look = _Look(self, [frame], reads, checked, state if carry_state else None)
            *_, last = look.results(last_only=True)
            state = look.state
            yield last[0]


class _Look:
    """All reads of one batch of pictures."""

    def __init__(
        self,
        detector: Detector,
        images: Sequence[Picture],
        reads: int | None,
        options: _Options,
        state: SPYv4State | None = None,
    ) -> None:
        if not images:
            raise ArgumentError("no pictures were given")
        self.detector = detector
        self.reads = detector.config.reads if reads is None else reads
        check_reads(self.reads)
        self.options = options
        started = time.perf_counter()
        frames: list[Frame] = [load_frame(image) for image in images]
        self.picture_sizes = [(frame.shape[0], frame.shape[1]) for frame in frames]
        tensor = to_images(frames, detector.image_size)
        self.preprocess_ms = _since(started)
        runtime = detector.runtime
        self.state = state or runtime.initial_state(len(frames), detector.image_size)
        self.prepared = runtime.prepare(tensor)
        self.network_ms = _since(started) - self.preprocess_ms

    def results(self, *, last_only: bool = False) -> Iterator[list[Detections]]:
        """Detections after every read, or after the last one alone."""
        wants_activity = self.options.activity or bool(self.options.raster_layers)
        for read in range(1, self.reads + 1):
            last = read == self.reads
            started = time.perf_counter()
            result = self.detector.runtime.step(
                self.prepared, self.state, activity=wants_activity and (last or not last_only)
            )
            self.state = result.state
            self.network_ms += _since(started)
            if last or not last_only:
                yield self._decode(result, read)

    def _decode(self, result: StepResult, read: int) -> list[Detections]:
        options = self.options
        started = time.perf_counter()
        raw = decode(
            result.maps,
            self.detector.config,
            score_threshold=options.score_threshold,
            iou_threshold=options.iou_threshold,
            max_detections=options.max_detections,
        )
        timings = {
            "preprocess": self.preprocess_ms,
            "network": self.network_ms,
            "decode": _since(started),
        }
        rates, rasters = _activity_arrays(result.activity)
        return [
            self._detections(index, item, read, timings, rates, rasters)
            for index, item in enumerate(raw)
        ]

    def _detections(
        self,
        index: int,
        raw: RawDetections,
        read: int,
        timings: dict[str, float],
        rates: NDArray[np.float32] | None,
        rasters: NDArray[np.bool_] | None,
    ) -> Detections:
        size = self.picture_sizes[index]
        options = self.options
        firing_rates = {}
        if options.activity and rates is not None:
            firing_rates = dict(zip(LAYER_NAMES, rates[index].tolist(), strict=True))
        spikes = {}
        if rasters is not None:
            spikes = {
                name: rasters[index, LAYER_NAMES.index(name)] for name in options.raster_layers
            }
        return Detections(
            boxes_xyxy=boxes_to_picture(raw.boxes_xyxy, self.detector.image_size, size),
            scores=raw.scores,
            labels=raw.labels,
            class_names=self.detector.config.class_names,
            image_size=size,
            reads=read,
            firing_rates=firing_rates,
            rasters=spikes,
            timings_ms=timings,
        )


def _activity_arrays(
    activity: Activity | None,
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
    """Firing rates [B, layers] and rasters [B, layers, n] as arrays."""
    if activity is None:
        return None, None
    return activity.firing_rates.float().cpu().numpy(), activity.rasters.cpu().numpy() > 0


def _since(started: float) -> float:
    """Milliseconds since `started`."""
    return (time.perf_counter() - started) * 1000
