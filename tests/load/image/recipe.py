"""What a Dockerfile says: steps, each with the user, folder and environment that hold there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class RecipeError(ValueError):
    """A Dockerfile that is not understood here."""


@dataclass(frozen=True)
class Place:
    """Where a step happens.

    Attributes:
        environment: all of it but HOME, which follows from the user.
        user: by name.
        folder: absolute.
    """

    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": PATH})
    user: str = "root"
    folder: str = "/"


@dataclass(frozen=True)
class Run:
    """A command to be run."""

    line: int
    place: Place
    command: tuple[str, ...]


@dataclass(frozen=True)
class Copy:
    """The content of a folder of the context, copied; `owner` is `USER` or `USER:GROUP`."""

    line: int
    source: str
    target: str
    owner: str


@dataclass(frozen=True)
class MakeFolder:
    """A folder that is made as root where there is none."""

    line: int
    path: str


@dataclass(frozen=True)
class Health:
    """How an engine asks whether a container is well; what is not said is as Docker has it."""

    command: tuple[str, ...]
    interval_s: float = 30.0
    timeout_s: float = 30.0
    start_period_s: float = 0.0
    retries: int = 3


@dataclass(frozen=True)
class Recipe:
    """What a Dockerfile says.

    Attributes:
        base: the image that it starts from.
        steps: in the order of the file, of the stages that the last one is made of.
        place: where the entry point is run.
        entrypoint: its command.
        health: None where there is no such command.
        ports: as they stand behind EXPOSE.
    """

    base: str
    steps: tuple[Run | Copy | MakeFolder, ...] = ()
    place: Place = field(default_factory=Place)
    entrypoint: tuple[str, ...] = ()
    health: Health | None = None
    ports: tuple[str, ...] = ()
