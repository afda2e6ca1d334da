"""The states of the pipeline, and which command is legal in which."""

import enum
from collections.abc import Mapping


class State(enum.Enum):
    """What the pipeline is doing."""

    IDLE = "idle"  # nobody watches, or there is no source
    RUNNING = "running"  # the source is captured and its frames are read
    ERROR = "error"  # the source was lost; uploads still work
    STOPPED = "stopped"  # before start() and after stop()


LEGAL: Mapping[str, frozenset[State]] = {
    "submit": frozenset({State.IDLE, State.RUNNING, State.ERROR}),
    "select": frozenset({State.IDLE, State.RUNNING, State.ERROR}),
    "retry": frozenset({State.ERROR}),
    "snapshot": frozenset({State.RUNNING}),
}
