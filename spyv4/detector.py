"""The detector: picture in, boxes out, after every read."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Unpack, get_args, overload

from spyv4.config import ModelConfig, check_image_size, check_reads
from spyv4.errors import ArgumentError
from spyv4.look import DetectOptions, Look, Options
from spyv4.models.spyv4 import LAYER_NAMES, SPYv4, SPYv4State
from spyv4.preprocess import Picture
from spyv4.runtime.base import Runtime
from spyv4.runtime.torch_runtime import Precision, TorchRuntime, pick_device
from spyv4.types import Detections
from spyv4.weights import find_weights, load_weights

RuntimeName = Literal["auto", "torch", "onnx"]


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
        look = self._look(pictures, reads, Options(**options))
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
        return self._look(images, reads, Options(**options)).results()

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
            carry_state: start each frame from the state the last one left (potentials, and the
                average of a leaky read-out), as the authors' webcam loop does, instead of from
                rest.
            **options: see `DetectOptions`.

        Raises:
            ArgumentError: at once, if an option is out of range.
            ConfigError: at once, if `reads` is.
        """
        checked = Options(**options)
        if reads is not None:
            check_reads(reads)
        return self._stream(frames, reads, checked, carry_state=carry_state)

    def _stream(
        self,
        frames: Iterable[Picture],
        reads: int | None,
        options: Options,
        *,
        carry_state: bool,
    ) -> Iterator[Detections]:
        """The frames of `stream`, one by one."""
        state: SPYv4State | None = None
        for frame in frames:
            look = self._look([frame], reads, options, state if carry_state else None)
            *_, last = look.results(last_only=True)
            state = look.state
            yield last[0]

    def _look(
        self,
        images: Sequence[Picture],
        reads: int | None,
        options: Options,
        state: SPYv4State | None = None,
    ) -> Look:
        """The reads of `images`, still to be made."""
        return Look(self.runtime, self.image_size, images, reads, options, state)
