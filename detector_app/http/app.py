"""The HTTP server: `/detect`, the live page, its WebSocket (see `live`), and health."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from detector_app.errors import (
    BadRequestError,
    DetectorFailedError,
    PayloadTooLargeError,
    ServerBusyError,
    ServerClosingError,
    SourceError,
    StreamStateError,
    TooSlowError,
)
from detector_app.http.access import Access
from detector_app.http.detect import add_detect
from detector_app.http.figures import figures
from detector_app.http.intake import Intake, Room
from detector_app.http.limits import Deadlines, Places
from detector_app.http.live import LiveConnection, turn_away
from detector_app.http.memory import trimmed
from detector_app.http.metrics import HubCollector
from detector_app.http.schemas import (
    Health,
    LiveResponse,
    error_responses,
    one_line,
    read_result,
)
from detector_app.http.security import Security
from detector_app.http.uploads import discard_body
from detector_app.http.video import Clips
from detector_app.http.viewing import hello
from detector_app.settings import Settings
from detector_app.stream.hub import Hub
from detector_app.stream.sources import DEMO, Source, parse_source
from detector_app.stream.states import require_legal
from spyv4 import Detector, __version__
from spyv4.errors import ArgumentError, ConfigError, ImageError, SPYv4Error

logger = logging.getLogger(__name__)
STATIC = Path(__file__).parents[1] / "static"

STATUSES: Mapping[type[SPYv4Error], HTTPStatus] = {
    BadRequestError: HTTPStatus.BAD_REQUEST,
    TooSlowError: HTTPStatus.REQUEST_TIMEOUT,
    PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ImageError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ArgumentError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ConfigError: HTTPStatus.UNPROCESSABLE_ENTITY,
    StreamStateError: HTTPStatus.CONFLICT,
    ServerBusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    ServerClosingError: HTTPStatus.SERVICE_UNAVAILABLE,
    DetectorFailedError: HTTPStatus.SERVICE_UNAVAILABLE,
    SourceError: HTTPStatus.SERVICE_UNAVAILABLE,
}
HEADERS: Mapping[type[SPYv4Error], dict[str, str]] = {
    ServerClosingError: {"Retry-After": "5", "Connection": "close"},
    TooSlowError: {"Connection": "close"},
}


def create_app(
    settings: Settings, detector: Detector, deadlines: Deadlines | None = None
) -> FastAPI:
    """Build the server; `connections.server_config` says how to run it.

    Args:
        settings: limits and source.
        detector: looks at pictures.
        deadlines: how long clients are waited for; the defaults otherwise.

    Raises:
        SourceError: where the source names a file that is not there.
    """
    hub = Hub(detector, _sources(settings))
    room = Room(settings.queue_size, settings.queue_reads, settings.max_pixels)
    intake = Intake(hub.scheduler, room)
    clips = Clips(hub.scheduler, settings.max_clips, settings.max_pixels, intake.refused)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        hub.start()
        if settings.compile is None:
            detector.compile_in_background()
        try:
            async with trimmed():
                yield
        finally:
            intake.stop()
            await asyncio.to_thread(hub.stop)
            await asyncio.to_thread(detector.close)

    app = FastAPI(
        title="SPYv4",
        version=__version__,
        summary="A spiking detector that looks several times.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings, app.state.hub, app.state.intake = settings, hub, intake
    app.state.deadlines = deadlines = deadlines or Deadlines()
    if settings.api_key is not None:
        app.add_middleware(Access, key=settings.api_key)
    app.add_middleware(Security, trusted=(settings.host, *settings.allowed_host))
    app.add_exception_handler(SPYv4Error, _say_error)
    app.add_exception_handler(RequestValidationError, _say_invalid)
    _add_pages(app, hub, intake)
    add_detect(app, settings, intake, clips, deadlines)
    _add_live(app, hub)
    _add_socket(app, settings, hub, intake)
    return app


def _sources(settings: Settings) -> list[Source]:
    """What can be watched: what the operator names, and the demo."""
    source = settings.open_source()
    named = [] if source is None else [source]
    return named if source is not None and source.name == DEMO else [*named, parse_source(DEMO)]


def _say(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": message}, status, headers)


async def _say_error(request: Request, error: Exception) -> JSONResponse:
    """An expected error as its status and one line."""
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            headers = HEADERS.get(kind)
            if isinstance(error, ServerBusyError):
                headers = {"Retry-After": str(error.retry_after_s)}
            return _say(status, str(error), headers)
    logger.error("%s %s: %s", request.method, request.url.path, error)
    return _say(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says more")


async def _say_invalid(request: Request, error: Exception) -> JSONResponse:
    """A query that cannot be, in one line, once the client has sent what it began to send."""
    await discard_body(request)
    findings = error.errors() if isinstance(error, RequestValidationError) else []
    return _say(HTTPStatus.UNPROCESSABLE_ENTITY, one_line(list(findings)))


def _add_pages(app: FastAPI, hub: Hub, intake: Intake) -> None:
    started_at = time.monotonic()

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(STATIC / "docs.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get(
        "/api/health",
        response_model=Health,
        responses={503: {"model": Health, "description": "the detector failed"}},
    )
    async def health() -> JSONResponse:
        """States, rates and latencies; status 503 where only a new start would help.

        A source that was lost is no such case: sent pictures are looked at all the same.
        """
        body = {
            **figures(hub, intake),
            "version": __version__,
            "model": hub.detector.config.name,
            "classes": hub.detector.config.class_names,
            "runtime": hub.detector.runtime.description,
            "engine": hub.detector.engine._asdict(),
            "uptime_s": round(time.monotonic() - started_at, 1),
        }
        failed = hub.scheduler.failed
        return JSONResponse(body, HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK)

    @app.get("/api/ready", status_code=204, responses=error_responses(409, 503))
    async def ready() -> None:
        """Whether pictures may be sent now; not where too many wait, nor while the server ends."""
        intake.require_room()

    registry = CollectorRegistry()
    registry.register(HubCollector(hub, intake))

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """What is counted, for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _add_live(app: FastAPI, hub: Hub) -> None:
    choice = Query(json_schema_extra={"enum": [*hub.feeds]})

    @app.get("/api/live", response_model=LiveResponse, responses=error_responses(409, 422, 503))
    async def live(source: Annotated[str | None, choice] = None) -> JSONResponse:
        """The newest result of a source, while somebody watches it."""
        feed = hub.feed(source)
        if feed.error is not None:
            raise feed.error
        require_legal("snapshot", feed.state)
        newest = [stream.latest for stream in hub.streams if stream.feed is feed and stream.latest]
        if not newest:
            raise StreamStateError("the source has just been started; ask again in a second")
        update = max(newest, key=lambda update: update.frame.id)
        latency_ms = round(update.latency_ms, 2)
        result = read_result(update.detections)
        return JSONResponse({"frame": update.frame.id, "latency_ms": latency_ms, **result})

    @app.post("/api/retry", status_code=204, responses=error_responses(403, 409, 421, 422))
    async def retry(source: Annotated[str | None, choice] = None) -> None:
        """Open a source again that was lost or came to its end."""
        hub.retry(source)


def _add_socket(app: FastAPI, settings: Settings, hub: Hub, intake: Intake) -> None:
    viewers = Places(
        settings.max_viewers,
        f"{settings.max_viewers} are connected to the live view already; try again later",
    )
    detector = hub.detector
    options = settings.read_options(detector.config)

    @app.websocket("/ws")
    async def live_stream(websocket: WebSocket) -> None:
        try:
            with viewers.take():
                said = hello(detector, settings, options, list(hub.feeds))
                await LiveConnection(websocket, hub, intake, said, options).run()
        except ServerBusyError as error:
            await turn_away(websocket, str(error))
