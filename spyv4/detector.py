"""The detector: picture in, boxes out, after every read."""

from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack, get_args, overload

from spyv4.background import Builder, Engine
from spyv4.checkpoint import read_config
from spyv4.choices import Exact, Precision, Reads, RuntimeName
from spyv4.closest import class_labels, names_closest
from spyv4.config import ModelConfig, height_and_width
from spyv4.engine import Network, forget, open_network
from spyv4.errors import ArgumentError
from spyv4.extras import require_extra
from spyv4.network.spyv4 import SPYv4, SPYv4State
from spyv4.network.table import LAYER_NAMES
from spyv4.options import ReadKeywords, ReadOptions
from spyv4.preprocess import Picture
from spyv4.recording import Recorder
from spyv4.rounds import EVERY_READ, Read, in_groups, read_pictures
from spyv4.runtime.base import Runtime
from spyv4.runtime.torch_runtime import TorchRuntime, pick_device
from spyv4.spikes import PotentialType, SpikeRecord
from spyv4.threads import settle_threads
from spyv4.types import Detections
from spyv4.weights import find_weights, load_weights


class Detector:
    """A spiking object detector.

    Args:
        runtime: runs the network.
        image_size: (height, width) that pictures are stretched to, or the side of a square; the
            network's own by default.

    Raises:
        ConfigError: if a side of `image_size` is not a positive multiple of 32.
    """

    def __init__(
        self, runtime: Runtime, *, image_size: int | tuple[int, int] | None = None
    ) -> None:
        self.runtime = runtime
        size = runtime.config.image_size if image_size is None else image_size
        self.image_size = height_and_width(size)
        self._builder: Builder | None = None

    @classmethod
    @names_closest
    def load(
        cls,
        weights: str | Path | None = None,
        *,
        runtime: RuntimeName = "auto",
        device: str = "auto",
        precision: Precision = "auto",
        compile: bool | None = None,  # noqa: A002 (torch's own word for it)
        image_size: int | tuple[int, int] | None = None,
        retune: bool = False,
    ) -> "Detector":
        """Load a detector.

        Args:
            weights: name from weights/manifest.json, a .safetensors or .onnx file; the shipped
                default when left out.
            runtime: `torch` or `onnx`; `auto` takes onnx for a .onnx file, else torch.
            device: `cpu`, `cuda`, `cuda:1`, or `auto` for the GPU where there is one.
            precision: of the torch runtime; `auto` for the fastest on this machine, which the first
                call measures for a second or two and every later one remembers.
            compile: True for a step that is compiled ahead of time, which is built where it is not
                there yet and takes a minute and a C++ compiler; False for none; None for the one
                that is there already, unless it was measured to be slower. On a GPU it is a CUDA
                graph, which takes about a second at every start, and None takes it, too.
            image_size: (height, width), or the side of a square, in multiples of 32; the network's
                own by default.
            retune: forget what was measured and built of these weights on this machine first.

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
            require_extra("onnx", ".onnx files and the onnx runtime")
            from spyv4.runtime.onnx_runtime import OnnxRuntime, export_and_load, pick_providers

            if path.suffix == ".onnx":
                onnx = OnnxRuntime(path, pick_providers(device))
                return cls(onnx, image_size=onnx.image_size if image_size is None else image_size)
            model = load_weights(weights)
            size = height_and_width(model.config.image_size if image_size is None else image_size)
            return cls(export_and_load(model, size, device), image_size=size)
        size = height_and_width(read_config(path).image_size if image_size is None else image_size)
        network = Network(path, size, pick_device(device))
        if retune:
            forget(network)
        opened = open_network(network, precision=precision, compiled=compile)
        detector = cls(opened, image_size=size)
        detector._builder = Builder(network, opened)
        return detector

    @classmethod
    def from_model(
        cls, model: SPYv4, *, device: str = "cpu", precision: Exact = "float32"
    ) -> "Detector":
        """A detector that owns `model`, whose batch norms it folds."""
        return cls(TorchRuntime(model, pick_device(device), precision=precision))

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return self.runtime.config

    def compile_in_background(self) -> None:
        """Build what is compiled ahead of time in a process of its own, and swap it in when ready.

        It takes minutes of a core; reads go on. Does nothing where all is there, without a C++
        compiler, for networks that are in no file, and on GPUs.
        """
        if self._builder is not None:
            self._builder.start()

    def settle_threads(self) -> None:
        """Compute with the fewest threads that are enough, unless told how many; process-wide."""
        choice = None if self._builder is None else self._builder.choice
        if choice is not None and isinstance(self.runtime, TorchRuntime):
            settle_threads(choice.threads)

    def close(self) -> None:
        """End what `compile_in_background` began; at any time, and more than once."""
        if self._builder is not None:
            self._builder.stop()

    @property
    def engine(self) -> Engine:
        """How the network runs at the moment, and what is known of other ways."""
        if self._builder is None:
            return Engine(self.runtime.description, "none", {})
        return self._builder.engine

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The spiking layers, shallow to deep."""
        return LAYER_NAMES

    @overload
    def detect(
        self, image: list[Picture], reads: Reads | None = ..., **options: Unpack[ReadKeywords]
    ) -> list[Detections]: ...
    @overload
    def detect(
        self, image: Picture, reads: Reads | None = ..., **options: Unpack[ReadKeywords]
    ) -> Detections: ...
    def detect(
        self,
        image: Picture | list[Picture],
        reads: Reads | None = None,
        **options: Unpack[ReadKeywords],
    ) -> Detections | list[Detections]:
        """Boxes after `reads` reads.

        Args:
            image: path, file bytes, PIL picture, array, or a list of them. Arrays are uint8, or
                uint16 whose upper 8 bits count, and grey [H, W] or [H, W, 1], BGR [H, W, 3] or
                BGRA [H, W, 4].
            reads: how often to look, 1..256; `auto` for until two successive reads agree, each
                picture of a list by itself (`spyv4.anytime` has the rule); the network's own
                number by default.
            **options: the other fields of `ReadOptions`.

        Returns:
            One `Detections`, or a list for a list.

        Raises:
            ArgumentError: if there is no picture, or a layer to show is not there.
            ConfigError: if an option is out of range.
            ImageError: if a picture cannot be read.
        """
        chosen = self.options(reads, **options)
        pictures = image if isinstance(image, list) else [image]
        *_, read = self.read_batch(pictures, chosen, at=self._last(chosen))
        return read.detections if isinstance(image, list) else read.detections[0]

    def reads(
        self, image: Picture, reads: Reads | None = None, **options: Unpack[ReadKeywords]
    ) -> Iterator[Detections]:
        """Boxes after every read, first to last; arguments as for `detect`. Stop at any time.

        With `auto` the last is the one that agrees with the read before, or read `max_reads`.
        """
        chosen = self.options(reads, **options)
        return (read.detections[0] for read in self.read_batch([image], chosen))

    def spikes(
        self,
        image: Picture,
        reads: Reads | None = None,
        potentials: PotentialType | None = None,
        **options: Unpack[ReadKeywords],
    ) -> SpikeRecord:
        """All spikes of all reads, with the boxes after each; see `spyv4.recording.Recorder`.

        Args:
            image: as for `detect`.
            reads: as for `detect`.
            potentials: `float16` or `float32` to keep the membrane potentials, too.
            **options: the other fields of `ReadOptions`.
        """
        chosen = self.options(reads, **options)
        return next(Recorder(self.runtime, self.image_size, chosen, potentials).stream([image]))

    def stream(
        self,
        frames: Iterable[Picture],
        reads: Reads | None = None,
        **options: Unpack[ReadKeywords],
    ) -> Iterator[Detections]:
        """Boxes of every frame of a video; `carry_state=True` is what the authors' loop does.

        Args:
            frames: pictures in their order.
            reads: reads of every frame; as for `detect`.
            **options: the other fields of `ReadOptions`.

        Raises:
            ArgumentError: at once, if a layer to show or a class is not there.
            ConfigError: at once, if an option is out of range.
        """
        return self.stream_by(self.options(reads, **options), frames)

    def stream_by(
        self, options: ReadOptions, frames: Iterable[Picture], *, batch: int = 1
    ) -> Iterator[Detections]:
        """`stream` under options that are checked already.

        Args:
            options: how to look.
            frames: pictures in their order.
            batch: so many are waited for and looked at together, which takes less time for each;
                one by one where the state is carried.
        """
        state: SPYv4State | None = None
        for group in in_groups(frames, 1 if options.carry_state else batch):
            *_, read = self.read_batch(group, options, at=self._last(options), state=state)
            state = read.state if options.carry_state else None
            yield from read.detections

    def _last(self, options: ReadOptions) -> Container[int]:
        """The reads of which one is the last."""
        return EVERY_READ if options.is_auto else (options.most_reads(self.config),)

    def options(self, reads: Reads | None = None, **options: Unpack[ReadKeywords]) -> ReadOptions:
        """Keywords as `ReadOptions`, checked.

        Raises:
            ArgumentError: if a layer to show or a class is not there.
            ConfigError: if an option is out of range.
        """
        values: dict[str, Any] = {"reads": reads, **options}
        classes = options.get("classes", ())
        values["classes"] = (classes,) if isinstance(classes, str) else tuple(classes)
        class_labels(values["classes"], self.config.class_names)
        values["raster_layers"] = tuple(options.get("raster_layers", ()))
        values["heat_layers"] = tuple(options.get("heat_layers", ()))
        for name in values["raster_layers"] + values["heat_layers"]:
            if name not in self.layer_names:
                raise ArgumentError(
                    f"unknown layer {name!r}; choose from: {', '.join(self.layer_names)}"
                )
        return ReadOptions(**values)

    def read_batch(
        self,
        images: Sequence[Picture],
        options: ReadOptions,
        *,
        at: Container[int] = EVERY_READ,
        activity_at: Container[int] | None = None,
        state: SPYv4State | None = None,
    ) -> Iterator[Read]:
        """Every read of several pictures, with the state after it; see `read_pictures`."""
        return read_pictures(
            self.runtime,
            self.image_size,
            images,
            options,
            at=at,
            activity_at=activity_at,
            state=state,
        )
