"""Errors of the app; the command line turns them into exit codes, the server into statuses."""

from typing import ClassVar

from spyv4.errors import SPYv4Error


class SourceError(SPYv4Error):
    """A camera, file or stream is not there or cannot be opened."""


class SourceLostError(SourceError):
    """A camera or stream that was running stopped delivering pictures."""

    exit_code: ClassVar[int] = 1


class PipelineBusyError(SPYv4Error):
    """The queue of pictures that wait for the detector is full; try again in a moment."""


class PipelineStateError(SPYv4Error):
    """A command is not legal in the state that the pipeline is in."""


class PipelineClosingError(SPYv4Error):
    """The server is ending; another one, or the next, will look at the picture."""

    def __init__(self) -> None:
        super().__init__("the server is ending; send this again in some seconds")


class PipelineFailedError(SPYv4Error):
    """The inference thread broke down; the log says why."""

    exit_code: ClassVar[int] = 1


class AbandonedError(SPYv4Error):
    """Nobody waits for a picture any more."""


class TooSlowError(SPYv4Error):
    """A picture comes too slowly."""


class PayloadTooLargeError(SPYv4Error):
    """A request or a picture is larger than the server takes."""


class BadRequestError(SPYv4Error):
    """A request lacks its picture or is malformed."""
