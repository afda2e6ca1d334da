"""Errors of the app; the command line turns them into exit codes, the server into statuses."""

from typing import ClassVar

from spyv4.errors import ArgumentError, ImageError, SPYv4Error


class SourceError(SPYv4Error):
    """A camera, file or stream is not there or cannot be opened."""


class SourceLostError(SourceError):
    """A camera or stream that was running stopped delivering pictures."""

    exit_code: ClassVar[int] = 1


class StreamStateError(SPYv4Error):
    """A command is not legal in the state that a stream is in."""


class ServerBusyError(SPYv4Error):
    """As much as may wait for the detector waits already; try again in a moment.

    Args:
        message: what is full.
        retry_after_s: when there is likely to be room.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerClosingError(SPYv4Error):
    """The server is ending; another one, or the next, will look at the picture."""

    def __init__(self) -> None:
        super().__init__("the server is ending; send this again in some seconds")


class DetectorFailedError(SPYv4Error):
    """The inference thread broke down; the log says why."""

    exit_code: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__("the detector failed; its log says why; start it again")


class AbandonedError(SPYv4Error):
    """Nobody waits for a picture any more."""

    def __init__(self) -> None:
        super().__init__("nobody waits for this picture any more")


class TooSlowError(SPYv4Error):
    """A picture comes too slowly."""


class PayloadTooLargeError(SPYv4Error):
    """A request or a picture is larger than the server takes."""


class BadRequestError(SPYv4Error):
    """A request lacks its picture or is malformed."""


class UnreachableError(SPYv4Error):
    """A server does not answer, or not in time."""

    exit_code: ClassVar[int] = 1


class RefusedError(SPYv4Error):
    """A server refused a request, or failed at it; the message is the server's.

    Args:
        message: what it says is wrong.
        status: of its answer in HTTP.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RefusedAccessError(RefusedError):
    """The key is missing or wrong, or the server is not known by this name (401, 403, 421)."""


class RefusedPictureError(RefusedError, ImageError):
    """What was sent is no picture that the server can read (415)."""


class RefusedSizeError(RefusedError, PayloadTooLargeError):
    """The picture is larger than the server takes (413)."""


class RefusedArgumentError(RefusedError, ArgumentError):
    """The server takes no such value (422)."""


class UnavailableError(RefusedError):
    """The server has no room now, is ending, or broke down (503)."""
