"""Settings of the commands: defaults < environment < command line."""

import argparse
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from detector_app.hosts import ANY_HOST, is_host
from detector_app.sources import Source, parse_source
from spyv4.commandline import add_score_threshold
from spyv4.config import MAX_READS, ModelConfig, check_reads
from spyv4.detector import Detector, RuntimeName
from spyv4.errors import ConfigError
from spyv4.options import ReadOptions
from spyv4.preprocess import MAX_PIXELS
from spyv4.runtime.torch_runtime import Precision

PREFIX = "SPYV4_"


@dataclass(frozen=True)
class Settings:
    """What the app can be told; each field is also the environment variable `SPYV4_<FIELD>`.

    Attributes:
        host: address to listen on; 0.0.0.0 for every interface.
        port: TCP port, 1..65535, or 0 for any free one.
        source: what viewers watch at first: a camera number, file, folder, address, demo or none.
        weights: name or path of a model, None for the shipped default.
        runtime: how the network is run.
        device: where it is run: cpu, cuda, or auto for the GPU where there is one.
        precision: of the torch runtime; int8 is the fastest on many processors.
        compile: whether torch compiles the network first.
        reads: reads of a live frame at first, None for the model's own.
        score_threshold: least score of a box where a client says none, 0..1; None for that of the
            weights.
        carry_state: start each live frame from the state the last one left, as the authors' webcam
            loop does, instead of anew.
        start_seed: start from random potentials drawn with this seed, as the authors' code does,
            instead of from rest; None for rest.
        max_reads: the most reads that clients may ask for, 1..256.
        allowed_host: names and addresses, besides its own address, under which browsers may reach
            the server (in the environment separated by commas); * for any.
        max_body_mb: largest request body in megabytes, > 0.
        max_megapixels: largest picture in millions of pixels, > 0 and at most 64.
        queue_size: how many sent pictures may wait, at least 1.
        max_uploads: how many pictures may be on their way over HTTP at a time, at least 1.
        max_viewers: how many may be connected to the live view, at least 1.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    source: str = "demo"
    weights: str | None = None
    runtime: RuntimeName = "auto"
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool = False
    reads: int | None = None
    score_threshold: float | None = None
    carry_state: bool = False
    start_seed: int | None = None
    max_reads: int = 32
    allowed_host: tuple[str, ...] = ()
    max_body_mb: float = 32.0
    max_megapixels: float = 50.0
    queue_size: int = 8
    max_uploads: int = 16
    max_viewers: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must be a number from 0 to 65535, not {self.port}")
        if self.runtime not in get_args(RuntimeName):
            raise ConfigError(
                f"runtime must be one of {', '.join(get_args(RuntimeName))}, not {self.runtime!r}"
            )
        self._check_reads()
        if self.score_threshold is not None and not 0 <= self.score_threshold <= 1:
            raise ConfigError(f"score_threshold must be in 0..1, not {self.score_threshold}")
        for name in self.allowed_host:
            if name != ANY_HOST and not is_host(name):
                raise ConfigError(
                    "allowed_host must be a name or address without scheme and port, such as "
                    f"spikes.example, or * for any, not {name!r}"
                )
        most = {"max_megapixels": MAX_PIXELS / 1e6}
        for name in ("max_body_mb", "max_megapixels", "queue_size", "max_uploads", "max_viewers"):
            value, limit = getattr(self, name), most.get(name, 1e6)
            if not 0 < value <= limit:
                raise ConfigError(
                    f"{name} must be greater than 0 and at most {limit:g}, not {value}"
                )

    def _check_reads(self) -> None:
        if not 1 <= self.max_reads <= MAX_READS:
            raise ConfigError(f"max_reads must be from 1 to {MAX_READS}, not {self.max_reads}")
        if self.reads is None:
            return
        check_reads(self.reads)
        if self.reads > self.max_reads:
            raise ConfigError(
                f"reads must be at most {self.max_reads}, not {self.reads}; ask for fewer or raise "
                "--max-reads"
            )

    @property
    def max_body_bytes(self) -> int:
        """The largest request body in bytes."""
        return int(self.max_body_mb * 1_000_000)

    @property
    def max_pixels(self) -> int:
        """The largest picture in pixels."""
        return int(self.max_megapixels * 1_000_000)

    def read_options(self, model: ModelConfig) -> ReadOptions:
        """How live frames are looked at at first."""
        options = ReadOptions(
            reads=self.reads or min(model.reads, self.max_reads),
            score_threshold=self.score_threshold,
            carry_state=self.carry_state,
            start_seed=self.start_seed,
        )
        return options.resolved(model)

    def sent_options(self, model: ModelConfig) -> ReadOptions:
        """How a picture that a client sends is looked at where the client says nothing."""
        return replace(
            self.read_options(model), reads=min(model.reads, self.max_reads), carry_state=False
        )

    def open_source(self, *, loop: bool = True) -> Source | None:
        """The source that `source` names, or None for `none`."""
        return None if self.source == "none" else parse_source(self.source, loop=loop)

    def load_detector(self) -> Detector:
        """The detector, loaded in a thread that ends.

        OpenMP keeps a pool of workers for every thread that ever computed. Were the one that loads
        to live on, its pool and that of the inference thread would outnumber the cores. Where
        threads are told to spin (`OMP_WAIT_POLICY=ACTIVE`) libgomp then no longer does, and a read
        takes twice as long.
        """
        with ThreadPoolExecutor(max_workers=1) as loading:
            return loading.submit(
                Detector.load,
                self.weights,
                runtime=self.runtime,
                device=self.device,
                precision=self.precision,
                compile=self.compile,
            ).result()


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options of a command that choose the model and how it looks."""
    parser.add_argument("--weights", metavar="NAME|FILE", help="model; the shipped one otherwise")
    parser.add_argument(
        "--runtime", choices=get_args(RuntimeName), help="how the network is run (default: auto)"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="default: auto")
    parser.add_argument("--precision", choices=get_args(Precision), help="torch (default: auto)")
    parser.add_argument(
        "--compile", action="store_true", default=None, help="compile the network first (torch)"
    )
    parser.add_argument("--reads", type=int, metavar="N", help="looks at each picture, 1..256")
    add_score_threshold(parser)


def load_settings(
    overrides: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> Settings:
    """Settings from the environment, replaced by those overrides that are not None.

    A command hands over all its options; those that are no settings are passed over.

    Raises:
        ConfigError: for a variable or override that is not valid.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    for name, convert in _CONVERTERS.items():
        text = environment.get(PREFIX + name.upper())
        if text:
            try:
                values[name] = convert(text)
            except ValueError:
                raise ConfigError(
                    f"{PREFIX}{name.upper()} must be a number, not {text!r}"
                ) from None
    values |= {
        field.name: overrides[field.name]
        for field in fields(Settings)
        if overrides.get(field.name) is not None
    }
    if "allowed_host" in values:
        values["allowed_host"] = tuple(values["allowed_host"])
    return Settings(**values)


_CONVERTERS: Mapping[str, Any] = {
    "host": str,
    "port": int,
    "source": str,
    "weights": str,
    "runtime": str,
    "device": str,
    "precision": str,
    "compile": lambda text: bool(int(text)),
    "reads": int,
    "score_threshold": float,
    "carry_state": lambda text: bool(int(text)),
    "start_seed": int,
    "max_reads": int,
    "allowed_host": lambda text: tuple(name.strip() for name in text.split(",") if name.strip()),
    "max_body_mb": float,
    "max_megapixels": float,
    "queue_size": int,
    "max_uploads": int,
    "max_viewers": int,
}
