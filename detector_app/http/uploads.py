"""Pictures that clients send: read and measured within limits."""

import asyncio
import contextlib
import io
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from fastapi import Request
from PIL import Image as PILImage
from PIL import UnidentifiedImageError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from detector_app.errors import (
    BadRequestError,
    PayloadTooLargeError,
    ServerBusyError,
    ServerClosingError,
    TooSlowError,
)
from detector_app.http.limits import Budget, Deadlines, Progress
from spyv4.errors import ImageError

T = TypeVar("T")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What strangers may send: Pillow has readers that run other programs."""
SMALL_BODY, LARGE_BODIES = 2_000_000, 6
"""How many bodies of more than so many bytes may be on their way, or wait to be decoded."""
MAX_FILES = 16
"""How many pictures may come in one request."""
DISCARD_S = 10.0
"""How long the rest of a refused request is read and thrown away."""
RETRY_S = 10
"""When to come back to a server that took too long."""
SILENCE_S = 1.0
"""How long to wait for more of it."""


class Upload(NamedTuple):
    """What a request brings.

    Attributes:
        files: pictures, or a clip; at least one.
        fields: parameters that came beside them.
    """

    files: list[bytes]
    fields: dict[str, str]


class Bodies:
    """Reads the bodies of requests, few large ones at a time.

    Args:
        max_bytes: of the largest.
        deadlines: how long a client may take to send.
    """

    def __init__(self, max_bytes: int, deadlines: Deadlines) -> None:
        self._max_bytes, self._deadlines = max_bytes, deadlines
        self._large = Budget(LARGE_BODIES)

    async def read(self, request: Request, place: contextlib.ExitStack) -> Upload:
        """The pictures in a request, and the form fields sent beside them.

        The body is either a picture itself or a multipart form with one file or several. At most
        `max_bytes` are ever held, whatever the Content-Length says. Amid a large body the next
        piece is only asked for once few others are large, which `place` ends when it is closed.

        Raises:
            PayloadTooLargeError: the body is larger than `max_bytes`.
            TooSlowError: it comes more slowly than the deadlines ask.
            BadRequestError: there is no picture, or there are too many.
        """
        declared = request.headers.get("content-length", "")
        try:
            if declared.isdecimal() and int(declared) > self._max_bytes:
                raise _too_large(self._max_bytes)
            return await self._read_limited(request, place)
        except PayloadTooLargeError:
            await discard_body(request)
            raise
        except ClientDisconnect:
            raise BadRequestError(
                "the connection was closed before the whole picture came"
            ) from None

    async def _read_limited(self, request: Request, place: contextlib.ExitStack) -> Upload:
        """`read` that trusts no Content-Length."""
        limited = Request(request.scope, self._limited(request.receive, place))
        content_type = request.headers.get("content-type", "")
        fields: dict[str, str] = {}
        if not content_type.lower().startswith("multipart/form-data"):
            files = [await limited.body()]
        else:
            try:
                async with limited.form(max_files=MAX_FILES, max_fields=16) as form:
                    files, fields = await _contents(form)
            except HTTPException:
                raise BadRequestError(
                    "the multipart form cannot be read; send pictures as file fields, at most "
                    f"{MAX_FILES}"
                ) from None
        if not all(files) or not files:
            raise BadRequestError(
                "the request holds no picture; send one as the body or as a multipart file field"
            )
        return Upload(files, fields)

    def _limited(self, receive: Receive, place: contextlib.ExitStack) -> Receive:
        """`receive` that raises as soon as a body is larger than allowed, or late."""
        total, large = 0, False
        progress = Progress(self._deadlines)

        async def limited() -> Message:
            nonlocal total, large, progress
            if total > SMALL_BODY and not large:
                place.callback((await self._large.lease(1)).release)
                large, progress = True, Progress(self._deadlines)
            try:
                async with asyncio.timeout(progress.remaining_s):
                    message = await receive()
            except TimeoutError:
                raise TooSlowError(
                    "the picture came too slowly; send a smaller one, or use a faster connection"
                ) from None
            count = len(message.get("body", b""))
            progress.add(count)
            total += count
            if total > self._max_bytes:
                raise _too_large(self._max_bytes)
            return message

        return limited


async def _contents(form: FormData) -> Upload:
    """The files of a form, and its text fields."""
    files: list[bytes] = []
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.append(await value.read())
        else:
            fields[name] = value
    return Upload(files, fields)


async def discard_body(request: Request) -> None:
    """Let a client whose request is refused finish sending, since many read no answer before.

    Clients that wait for `100 Continue` are told at once.
    """
    if "expect" in request.headers:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            more = True
            while more:
                # Not wait_for: in Python 3.11 it may miss that the time for all of it is over.
                async with asyncio.timeout(SILENCE_S):
                    message = await request.receive()
                more = message.get("more_body", False)


async def while_connected(
    request: Request, work: Coroutine[Any, Any, T], answer_s: float, refused: asyncio.Event
) -> T:
    """What `work` gives, which is cancelled where there is no sense in it any more.

    Args:
        request: of the client that waits.
        work: what to wait for.
        answer_s: how long.
        refused: set where the server ends.

    Raises:
        BadRequestError: where the client leaves.
        ServerBusyError: where it takes more than `answer_s`.
        ServerClosingError: where it is refused.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnection(request))
    ends = asyncio.ensure_future(refused.wait())
    any_of = {task, gone, ends}
    try:
        await asyncio.wait(any_of, timeout=answer_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise BadRequestError("the connection was closed before the answer was ready")
        if ends.done():
            raise ServerClosingError
        raise ServerBusyError(
            f"this was not done within {answer_s:g} seconds; send it again, or ask for fewer reads",
            RETRY_S,
        )
    finally:
        for each in any_of:
            each.cancel()
        await asyncio.gather(*any_of, return_exceptions=True)


async def _disconnection(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _too_large(max_bytes: int) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"the request is larger than {max_bytes / 1e6:g} MB; send a smaller picture"
    )


def count_pixels(data: bytes, max_pixels: int) -> int:
    """How many pixels a picture has, by its header alone.

    Raises:
        ImageError: not a picture.
        PayloadTooLargeError: more than `max_pixels` pixels.
    """
    try:
        with PILImage.open(io.BytesIO(data), formats=FORMATS) as picture:
            width, height = picture.size
    except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning):
        raise PayloadTooLargeError(_too_many("", max_pixels)) from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise ImageError(
            f"what was sent is not a picture that can be read; send one of {', '.join(FORMATS)}"
        ) from None
    if width * height > max_pixels:
        raise PayloadTooLargeError(_too_many(f" of {width} x {height} pixels", max_pixels))
    return width * height


def _too_many(size: str, max_pixels: int) -> str:
    return (
        f"the picture{size} has more than {max_pixels / 1e6:g} million pixels; send a smaller one"
    )
