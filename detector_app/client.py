"""Clients of the server: `Client`, and `AsyncClient` for asyncio.

They give what `spyv4.Detector` gives, and raise the same errors, but over HTTP:

    with Client("http://127.0.0.1:8000") as client:
        result = client.detect("dog.jpg", reads=4)

Pictures are of any kind that `Detector.detect` takes. Files and bytes are sent as they are; arrays
and PIL pictures as PNG, so that the same boxes are found in them as here. Every method may raise

- `UnreachableError` where the server does not answer, or takes too long,
- `RefusedError` where it refuses, with its `status` and, as the message, the server's own line;
  among its kinds are `ImageError`, `ArgumentError` and `PayloadTooLargeError`.
"""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from detector_app.http.schemas import Health
from detector_app.questions import (
    Asked,
    AskedKeywords,
    Question,
    annotated_question,
    detect_question,
    health_question,
    reaching,
    reads_question,
    ready_question,
)
from spyv4 import Detections
from spyv4.errors import ArgumentError
from spyv4.preprocess import Picture

T = TypeVar("T")
TIMEOUT_S = 60.0
RETRIES = 3


class Client:
    """A client of a server, for any number of threads; a `with` closes its connections.

    Args:
        url: of the server, such as `http://127.0.0.1:8000`.
        api_key: the server's, where it has one.
        timeout_s: how long it may say nothing, > 0.
        retries: how often a picture is sent again where the server has no room for it, after the
            pause that it asks for; a pause longer than `timeout_s` is not waited for.

    Raises:
        ArgumentError: if one of them is not of that kind.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
    ) -> None:
        self.url, self.timeout_s, self.retries = url, timeout_s, retries
        self._http = httpx.Client(**_checked(url, api_key, timeout_s, retries))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def detect(
        self,
        image: Picture,
        **asked: Unpack[AskedKeywords],
    ) -> Detections:
        """Find things in a picture.

        Args:
            image: a path, the bytes of a file, an array (BGR) or a PIL picture.
            reads: looks at it, at least 1 and at most what the server allows; `auto` for until two
                successive ones agree.
            score_threshold: least score of a box, 0..1.
            iou_threshold: boxes of a class that overlap more are one object, 0..1.
            classes: names of those to look for.
            agnostic_nms: whether boxes of different classes may be one object, too.

        What is None is as the server has it.

        Returns:
            The boxes after the last read, as `Detector.detect` would give them there; scores have
            four decimals, pixels two, and there are no rasters.
        """
        return self._ask(detect_question(image, Asked(**asked)))

    def reads(
        self,
        image: Picture,
        **asked: Unpack[AskedKeywords],
    ) -> list[Detections]:
        """The boxes after every read; the arguments are those of `detect`.

        The last also has the times, which are those of all reads together.
        """
        return self._ask(reads_question(image, Asked(**asked)))

    def annotated(
        self,
        image: Picture,
        **asked: Unpack[AskedKeywords],
    ) -> bytes:
        """A JPEG file of the picture with its boxes; the arguments are those of `detect`."""
        return self._ask(annotated_question(image, Asked(**asked)))

    def health(self) -> Health:
        """How the server is; also where it is ill."""
        return self._ask(health_question())

    def ready(self) -> bool:
        """Whether pictures may be sent now."""
        return self._ask(ready_question())

    def _ask(self, question: Question[T]) -> T:
        for left in reversed(range(self.retries + 1)):
            with reaching(self.url, self.timeout_s):
                response = self._http.send(question.request(self._http))
            pause_s = question.pause_s(response, self.timeout_s)
            if not left or pause_s is None:
                break
            time.sleep(pause_s)
        return question.read(response)


class AsyncClient:
    """`Client` whose methods are awaited; for `async with`."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
    ) -> None:
        self.url, self.timeout_s, self.retries = url, timeout_s, retries
        self._http = httpx.AsyncClient(**_checked(url, api_key, timeout_s, retries))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def detect(
        self,
        image: Picture,
        **asked: Unpack[AskedKeywords],
    ) -> Detections:
        """As `Client.detect`."""
        return await self._look(detect_question, image, Asked(**asked))

    async def reads(
        self,
        image: Picture,
        **asked: Unpack[AskedKeywords],
    ) -> list[Detections]:
        """As `Client.reads`."""
        return await self._look(reads_question, image, Asked(**asked))

    async def annotated(
        self,
        image: Picture,
        **asked: Unpack[AskedKeywords],
    ) -> bytes:
        """As `Client.annotated`."""
        return await self._look(annotated_question, image, Asked(**asked))

    async def health(self) -> Health:
        """As `Client.health`."""
        return await self._ask(health_question())

    async def ready(self) -> bool:
        """As `Client.ready`."""
        return await self._ask(ready_question())

    async def _look(
        self, asking: Callable[[Picture, Asked], Question[T]], image: Picture, asked: Asked
    ) -> T:
        # In a thread, since files are read and arrays are compressed.
        return await self._ask(await asyncio.to_thread(asking, image, asked))

    async def _ask(self, question: Question[T]) -> T:
        for left in reversed(range(self.retries + 1)):
            with reaching(self.url, self.timeout_s):
                response = await self._http.send(question.request(self._http))
            pause_s = question.pause_s(response, self.timeout_s)
            if not left or pause_s is None:
                break
            await asyncio.sleep(pause_s)
        return question.read(response)


def _checked(url: str, api_key: str | None, timeout_s: float, retries: int) -> dict[str, Any]:
    """What httpx is told.

    Raises:
        ArgumentError: if an argument is not as `Client` has it.
    """
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        parts = httpx.URL()
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ArgumentError(f"url must be an address like http://127.0.0.1:8000, not {url!r}")
    if not timeout_s > 0:
        raise ArgumentError(f"timeout_s must be greater than 0, not {timeout_s}")
    if retries < 0:
        raise ArgumentError(f"retries must be at least 0, not {retries}")
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise ArgumentError("api_key must be printable characters of ASCII")
    said = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    return {"base_url": parts, "timeout": timeout_s, "headers": said}
