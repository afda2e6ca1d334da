"""The states of a stream, and which command is legal in which."""

import enum
from collections.abc import Mapping

from detector_app.errors import StreamStateError


class State(enum.Enum):
    """What a stream is doing."""

    PAUSED = "paused"  # nobody watches: the source is closed
    OPENING = "opening"  # the source was asked for and has shown nothing yet
    RUNNING = "running"  # frames come
    ENDED = "ended"  # the source came to its end
    LOST = "lost"  # the source failed; where it may come back it is tried again


LEGAL: Mapping[str, frozenset[State]] = {
    "retry": frozenset({State.LOST, State.ENDED}),
    "snapshot": frozenset({State.RUNNING}),
}


class Policy(enum.Enum):
    """What becomes of a frame that comes while the one before is looked at."""

    LATEST = "latest"  # it replaces the one that waits, which counts as dropped: cameras
    EVERY = "every"  # the source waits until there is room: files, in which every frame counts


def require_legal(command: str, state: State) -> None:
    """Raise `StreamStateError` where `command` is not legal in `state`."""
    if state not in LEGAL[command]:
        legal = " or ".join(sorted(legal.value for legal in LEGAL[command]))
        raise StreamStateError(
            f"{command} is not possible while the source is {state.value}, only while it is {legal}"
        )
