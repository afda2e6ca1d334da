"""What clients ask the server, and how its answers are read; `client` does the sending."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

import cv2
import httpx
import numpy as np
from pydantic import BaseModel, ValidationError

from detector_app.errors import (
    RefusedAccessError,
    RefusedArgumentError,
    RefusedError,
    RefusedPictureError,
    RefusedSizeError,
    UnavailableError,
    UnreachableError,
)
from detector_app.http.schemas import DetectResponse, Health, ReadResult
from spyv4 import Detections
from spyv4.choices import Reads
from spyv4.errors import ImageError
from spyv4.preprocess import Picture, load_frame

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

REFUSALS: Mapping[int, type[RefusedError]] = {
    HTTPStatus.UNAUTHORIZED: RefusedAccessError,
    HTTPStatus.FORBIDDEN: RefusedAccessError,
    HTTPStatus.MISDIRECTED_REQUEST: RefusedAccessError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: RefusedSizeError,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: RefusedPictureError,
    HTTPStatus.UNPROCESSABLE_ENTITY: RefusedArgumentError,
    HTTPStatus.SERVICE_UNAVAILABLE: UnavailableError,
}


class AskedKeywords(TypedDict, total=False):
    """The fields of `Asked` as keywords of the clients' methods."""

    reads: Reads | None
    score_threshold: float | None
    iou_threshold: float | None
    classes: Sequence[str] | None
    agnostic_nms: bool | None


@dataclass(frozen=True)
class Asked:
    """How a picture is to be looked at; what is None is as the server has it."""

    reads: Reads | None = None
    score_threshold: float | None = None
    iou_threshold: float | None = None
    classes: Sequence[str] | None = None
    agnostic_nms: bool | None = None

    def params(self) -> dict[str, Any]:
        """The same as parameters of the query."""
        named = [self.classes] if isinstance(self.classes, str) else self.classes
        return vars(self) | {"classes": None if named is None else ",".join(named)}


@dataclass(frozen=True)
class Question(Generic[T]):
    """A request, and how its answer is read.

    Attributes:
        method: of HTTP.
        path: of the address.
        read: what an answer says; raises `RefusedError` where it refuses.
        content: the body.
        params: the query; those that are None are left out.
        headers: besides those of every request.
        patient: whether to ask again where the server says that it is busy.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    content: bytes | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    patient: bool = False

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """This as a request of a client."""
        params = {name: value for name, value in self.params.items() if value is not None}
        return http.build_request(
            self.method, self.path, content=self.content, params=params, headers=self.headers
        )

    def pause_s(self, response: httpx.Response, longest_s: float) -> float | None:
        """How long to wait before this is asked again, as the server says; None for not again.

        Nor is it asked again where the server says more than `longest_s`.
        """
        after = response.headers.get("retry-after", "")
        busy = response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        told = self.patient and busy and after.isdecimal() and int(after) <= longest_s
        return float(after) if told else None


def detect_question(image: Picture, asked: Asked) -> Question[Detections]:
    """The boxes after the last read."""
    return _look(lambda response: _all_reads(response)[-1], image, asked.params())


def reads_question(image: Picture, asked: Asked) -> Question[list[Detections]]:
    """The boxes after every read."""
    return _look(_all_reads, image, asked.params() | {"per_read": True})


def annotated_question(image: Picture, asked: Asked) -> Question[bytes]:
    """The picture with the boxes, as a JPEG file."""
    return _look(lambda response: _accepted(response).content, image, asked.params(), "image/jpeg")


def health_question() -> Question[Health]:
    """How the server is, ill or well."""
    return Question("GET", "api/health", _health)


def ready_question() -> Question[bool]:
    """Whether pictures may be sent now."""
    return Question("GET", "api/ready", _is_ready)


def _look(
    read: Callable[[httpx.Response], T],
    image: Picture,
    asked: Mapping[str, Any],
    accept: str = "application/json",
) -> Question[T]:
    """To look at a picture, which is made a file of where it is none."""
    headers = {"Accept": accept, "Content-Type": "application/octet-stream"}
    return Question("POST", "detect", read, _file_of(image), asked, headers, patient=True)


def _file_of(image: Picture) -> bytes:
    """A picture as the bytes of a file: files as they are, pixels as PNG, which loses nothing."""
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise ImageError(f"{image} cannot be read: {reason}; check the path") from error
    # Most of the time goes into compression, and the lightest is a tenth larger.
    _, encoded = cv2.imencode(".png", load_frame(image), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return encoded.tobytes()


def _all_reads(response: httpx.Response) -> list[Detections]:
    """What was found after every read that the answer has; the last also has the times."""
    answer = _parsed(_accepted(response), DetectResponse)
    reads: list[ReadResult | DetectResponse] = [*(answer.per_read or [])[:-1], answer]
    size = answer.height, answer.width
    return [_detections(read, tuple(answer.classes), size) for read in reads]


def _detections(
    read: ReadResult | DetectResponse, class_names: tuple[str, ...], image_size: tuple[int, int]
) -> Detections:
    """One read as the detector hands it out."""
    found = read.detections
    return Detections(
        boxes_xyxy=np.array([box.box for box in found], np.float32).reshape(-1, 4),
        scores=np.array([box.score for box in found], np.float32),
        labels=np.array([box.class_id for box in found], np.int64),
        class_names=class_names,
        image_size=image_size,
        reads=read.reads if isinstance(read, DetectResponse) else read.read,
        firing_rates=read.firing_rates,
        timings_ms=read.timings_ms if isinstance(read, DetectResponse) else {},
    )


def _health(response: httpx.Response) -> Health:
    """A server that is ill says how with status 503; a proxy says nothing of that kind."""
    ill = (
        response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and b'"uptime_s"' in response.content
    )
    return _parsed(response if ill else _accepted(response), Health)


def _is_ready(response: httpx.Response) -> bool:
    if response.status_code in (HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE):
        return False
    return _accepted(response).status_code == HTTPStatus.NO_CONTENT


def _accepted(response: httpx.Response) -> httpx.Response:
    """The answer itself, unless it is a refusal.

    Raises:
        RefusedError: where it is; its message is the server's.
    """
    if response.is_success:
        return response
    status = response.status_code
    try:
        message = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):  # by a proxy, or by something else
        message = f"{response.url} answers with status {status} and no word of why"
    raise REFUSALS.get(status, RefusedError)(message, status)


def _parsed(response: httpx.Response, model: type[M]) -> M:
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise RefusedError(
            f"{response.url} does not answer as SPYv4 does; check the address and the versions",
            response.status_code,
        ) from None


@contextlib.contextmanager
def reaching(url: str, timeout_s: float) -> Iterator[None]:
    """Say in a line what keeps a request from its answer.

    Raises:
        UnreachableError: where something does.
    """
    try:
        yield
    except httpx.TimeoutException:
        raise UnreachableError(
            f"{url} did not answer within {timeout_s:g} s; ask for fewer reads, or wait longer "
            "(timeout_s)"
        ) from None
    except httpx.ConnectError as error:
        raise UnreachableError(
            f"{url} cannot be reached: {_reason(error)}; check the address, and that spyv4-serve "
            "runs there"
        ) from None
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise UnreachableError(f"the connection to {url} broke: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What the system says, without its number."""
    return str(error).rpartition("] ")[2].strip().lower() or type(error).__name__
