"""Settings of the commands: defaults < file < environment < command line."""

import os
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field, create_model
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from detector_app.choices import EVENT_WINDOW_MS, HOST, PORT, PREFIX, SERVED_READS
from detector_app.http.hosts import ANY_HOST, is_host, is_loopback
from detector_app.stream.sources import Source, parse_source
from spyv4.choices import AUTO, MAX_READS, Precision, RuntimeName
from spyv4.config import ModelConfig
from spyv4.detector import Detector
from spyv4.errors import ConfigError
from spyv4.options import READ_LIMITS, AnyReads, ReadOptions
from spyv4.preprocess import MAX_PIXELS
from spyv4.validation import Share, configuration, from_mapping, require

CONFIG = f"{PREFIX}CONFIG"
"""The variable that names a file."""
# Limits stand outside of `| None`: text is converted by what is inside, and checked after that.
READ_COUNT = Field(ge=1, le=MAX_READS)
Places = Annotated[int, Field(ge=1, le=1_000_000)]


@configuration
class Settings:
    """What the app can be told; each field is also the environment variable `SPYV4_<FIELD>`.

    Attributes:
        host: address to listen on; 0.0.0.0 for every interface.
        port: TCP port, 1..65535, or 0 for any free one.
        source: what viewers watch at first: a camera number, file, folder, address, demo or none.
        event_window_ms: length of a frame made of the events of a recording, 1..60000 milliseconds.
        weights: name or path of a model, None for the shipped default.
        runtime: how the network is run.
        device: where it is run: cpu, cuda, or auto for the GPU where there is one.
        precision: of the torch runtime; int8 is the fastest on many processors.
        compile: whether the network is compiled ahead of time (torch): true before it starts, false
            never, nothing while it runs.
        retune: measure again which way of running is the fastest here.
        reads: reads of a live frame at first, `auto` for until two successive ones agree, None for
            the model's own.
        agree_iou: least IoU of two boxes that agree, 0..1; of `auto`, as the three that follow.
        agree_score: most that their scores differ by, 0..1.
        agree_margin: boxes whose score is above the threshold by less than this may come and go,
            0..1.
        auto_reads: reads after which looking ends, agreed or not, at most `max_reads`.
        score_threshold: least score of a box where a client says none, 0..1; None for that of the
            weights.
        iou_threshold: boxes of a class that overlap more are one object where a client says nothing
            else, 0..1.
        agnostic_nms: boxes of different classes, too.
        classes: names of those to look for (in the environment separated by commas); all where
            there are none.
        carry_state: start each live frame from the state the last one left, as the authors' webcam
            loop does, instead of anew.
        start_seed: start from random potentials drawn with this seed, as the authors' code does,
            instead of from rest; None for rest.
        max_reads: the most reads that clients may ask for, 1..256.
        allowed_host: names and addresses, besides its own address, under which browsers may reach
            the server (in the environment separated by commas); * for any.
        api_key: what clients must send to use the server, at least 16 printable characters without
            blanks; None for no key.
        log_format: of the lines in the log, which go to the standard error.
        insecure: whether everybody who reaches `host` may use the server without a key.
        max_body_mb: largest request body in megabytes, > 0.
        max_megapixels: largest picture in millions of pixels, > 0 and at most 64.
        queue_size: how many sent pictures may wait or be looked at, at least 1.
        queue_reads: how many reads they may ask for in all, at least 1.
        max_uploads: how many pictures may be on their way over HTTP at a time, at least 1.
        max_clips: how many clips that clients send are looked at at a time, at least 1.
        max_viewers: how many may be connected to the live view, at least 1.
    """

    host: str = HOST
    port: Annotated[int, Field(ge=0, le=65535)] = PORT
    source: str = "demo"
    event_window_ms: Annotated[float, Field(ge=1, le=60_000)] = EVENT_WINDOW_MS
    weights: str | None = None
    runtime: RuntimeName = "auto"
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool | None = None
    retune: bool = False
    reads: Annotated[AnyReads | None, READ_LIMITS] = None
    agree_iou: Share = ReadOptions().agree_iou
    agree_score: Share = ReadOptions().agree_score
    agree_margin: Share = ReadOptions().agree_margin
    auto_reads: Annotated[int, READ_COUNT] = ReadOptions().max_reads
    score_threshold: Annotated[float | None, Field(ge=0, le=1)] = None
    iou_threshold: Share = ReadOptions().iou_threshold
    agnostic_nms: bool = False
    classes: tuple[str, ...] = ()
    carry_state: bool = False
    start_seed: Annotated[int | None, Field(ge=0)] = None
    max_reads: Annotated[int, READ_COUNT] = SERVED_READS
    allowed_host: tuple[str, ...] = ()
    api_key: Annotated[str | None, Field(pattern=r"^[!-~]{16,}$")] = None
    log_format: Literal["text", "json"] = "text"
    insecure: bool = False
    max_body_mb: Annotated[float, Field(gt=0, le=1e6)] = 32.0
    max_megapixels: Annotated[float, Field(gt=0, le=MAX_PIXELS / 1e6)] = 50.0
    queue_size: Places = 32
    queue_reads: Places = 512
    max_uploads: Places = 32
    max_clips: Places = 2
    max_viewers: Places = 64

    def __post_init__(self) -> None:
        require(
            self.reads is None or self.reads == AUTO or self.reads <= self.max_reads,
            f"reads must be at most {self.max_reads}, not {self.reads}; ask for fewer or raise "
            "--max-reads",
        )
        require(
            self.api_key is None or not set(self.api_key) & set('",;\\'),
            "api_key must do without quotes, commas, semicolons and backslashes",
        )
        for name in self.allowed_host:
            require(
                name == ANY_HOST or is_host(name),
                "allowed_host must be a name or address without scheme and port, such as "
                f"spikes.example, or * for any, not {name!r}",
            )

    def require_guard(self) -> None:
        """Raise `ConfigError` where everybody in the network could use the server unasked."""
        local = is_loopback(self.host)
        require(
            local or self.api_key is not None or self.insecure,
            f"on {self.host} everybody who reaches this machine could use the detector and see its "
            "pictures; set a key (SPYV4_API_KEY or --api-key-file), or say --insecure",
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
            agree_iou=self.agree_iou,
            agree_score=self.agree_score,
            agree_margin=self.agree_margin,
            max_reads=min(self.auto_reads, self.max_reads),
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            agnostic_nms=self.agnostic_nms,
            classes=self.classes,
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
        if self.source == "none":
            return None
        return parse_source(self.source, loop=loop, event_window_ms=self.event_window_ms)

    def load_detector(self) -> Detector:
        """The detector, loaded in a thread that ends.

        OpenMP keeps a pool of workers for every thread that ever computed. Were the one that loads
        to live on, its pool and that of the inference thread would outnumber the cores. Where
        threads are told to spin (`OMP_WAIT_POLICY=ACTIVE`) libgomp then no longer does, and a read
        takes twice as long.
        """
        with ThreadPoolExecutor(max_workers=1) as loading:
            detector = loading.submit(
                Detector.load,
                self.weights,
                runtime=self.runtime,
                device=self.device,
                precision=self.precision,
                compile=self.compile,
                retune=self.retune,
            ).result()
        detector.settle_threads()
        return detector


class _Variables(EnvSettingsSource):
    # pydantic would have lists as JSON; the only lists here are names.
    def decode_complex_value(self, _name: str, _field: FieldInfo, value: Any) -> list[str]:
        """Called by pydantic."""
        return [name.strip() for name in value.split(",") if name.strip()]


class _Sources(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, strict=True)


def load_settings(options: Mapping[str, Any], **usual: Any) -> Settings:
    """Settings from the options of a command that are not None, else variables, else a file.

    Args:
        options: all that the command has; those that are no settings are passed over, but for
            `config`, the file, which the variable `SPYV4_CONFIG` may name too.
        usual: what nobody said is like this in this command.

    Raises:
        ConfigError: for a variable, option, key or value that is not valid.
    """
    kinds = get_type_hints(Settings, include_extras=True)
    fields: Any = {name: (kind, None) for name, kind in kinds.items()}
    sources = create_model("Sources", __base__=_Sources, **fields)
    said = {name: options[name] for name in kinds if options.get(name) is not None}
    variables = _Variables(sources)()
    file = options.get("config") or os.environ.get(CONFIG)
    written = _read(Path(file), sources) if file else {}
    called = {name: f"{name} in {file}" for name in written}
    called |= {name: PREFIX + name.upper() for name in variables} | {name: name for name in said}
    return from_mapping(Settings, usual | written | variables | said, called)


def _read(file: Path, sources: type[BaseSettings]) -> dict[str, Any]:
    require(file.is_file(), f"--config and {CONFIG} must name a TOML file, not {file}")
    try:
        return TomlConfigSettingsSource(sources, file)()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from None
