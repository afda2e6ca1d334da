"""The HTTP server: `/detect`, the live page, its WebSocket (see `live`), and health."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from detector_app.access import Access
from detector_app.annotate import shallow_and_deep
from detector_app.detect import add_detect
from detector_app.errors import (
    BadRequestError,
    PayloadTooLargeError,
    PipelineBusyError,
    PipelineClosingError,
    PipelineFailedError,
    PipelineStateError,
    SourceError,
    TooSlowError,
)
from detector_app.health import statistics
from detector_app.intake import Intake
from detector_app.limits import Deadlines, Places
from detector_app.live import LiveConnection, turn_away
from detector_app.metrics import PipelineCollector
from detector_app.pipeline import Pipeline
from detector_app.schemas import (
    Health,
    LiveResponse,
    error_responses,
    one_line,
    read_result,
    settings_of,
)
from detector_app.security import Security
from detector_app.settings import Settings
from detector_app.sources import DEMO, parse_source
from spyv4 import Detector, __version__
from spyv4.drawing import colour_hex
from spyv4.errors import ArgumentError, ConfigError, ImageError, SPYv4Error

logger = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"

STATUSES: Mapping[type[SPYv4Error], HTTPStatus] = {
    BadRequestError: HTTPStatus.BAD_REQUEST,
    TooSlowError: HTTPStatus.REQUEST_TIMEOUT,
    PayloadTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ImageError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    ArgumentError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ConfigError: HTTPStatus.UNPROCESSABLE_ENTITY,
    PipelineStateError: HTTPStatus.CONFLICT,
    PipelineBusyError: HTTPStatus.SERVICE_UNAVAILABLE,
    PipelineClosingError: HTTPStatus.SERVICE_UNAVAILABLE,
    PipelineFailedError: HTTPStatus.SERVICE_UNAVAILABLE,
    SourceError: HTTPStatus.SERVICE_UNAVAILABLE,
}
HEADERS: Mapping[type[SPYv4Error], dict[str, str]] = {
    PipelineBusyError: {"Retry-After": "1"},
    PipelineClosingError: {"Retry-After": "5", "Connection": "close"},
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
    source, options = settings.open_source(), settings.read_options(detector.config)
    pipeline = Pipeline(detector, source, options, settings.queue_size)
    intake = Intake(pipeline, settings.max_pixels)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        pipeline.start()
        try:
            yield
        finally:
            intake.close()
            await asyncio.to_thread(pipeline.stop)

    app = FastAPI(
        title="SPYv4",
        version=__version__,
        summary="A spiking detector that looks several times.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings, app.state.pipeline = settings, pipeline
    app.state.deadlines = deadlines = deadlines or Deadlines()
    if settings.api_key is not None:
        app.add_middleware(Access, key=settings.api_key)
    app.add_middleware(Security, trusted=(settings.host, *settings.allowed_host))
    app.add_exception_handler(SPYv4Error, _say_error)
    app.add_exception_handler(RequestValidationError, _say_invalid)
    _add_pages(app, pipeline)
    add_detect(app, settings, pipeline, intake, deadlines)
    # By the names that people see: an address may hold a password.
    sources = ({} if source is None else {source.name: settings.source}) | {DEMO: DEMO}
    _add_live(app, pipeline, sources)
    _add_socket(app, settings, pipeline, intake, list(sources))
    return app


def _say(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": message}, status, headers)


async def _say_error(request: Request, error: Exception) -> JSONResponse:
    """An expected error as its status and one line."""
    for kind, status in STATUSES.items():
        if isinstance(error, kind):
            return _say(status, str(error), HEADERS.get(kind))
    logger.error("%s %s: %s", request.method, request.url.path, error)
    return _say(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed; its log says more")


async def _say_invalid(_: Request, error: Exception) -> JSONResponse:
    findings = error.errors() if isinstance(error, RequestValidationError) else []
    return _say(HTTPStatus.UNPROCESSABLE_ENTITY, one_line(list(findings)))


def _add_pages(app: FastAPI, pipeline: Pipeline) -> None:
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
        """State, rates and latencies; status 503 where only a new start would help.

        A source that was lost is no such case: sent pictures are looked at all the same.
        """
        figures = statistics(pipeline)
        healthy = not pipeline.failed
        body = {
            **figures,
            "version": __version__,
            "model": pipeline.detector.config.name,
            "runtime": pipeline.detector.runtime.description,
            "uptime_s": round(time.monotonic() - started_at, 1),
        }
        return JSONResponse(body, HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE)

    @app.get("/api/ready", status_code=204, responses=error_responses(409, 503))
    async def ready() -> None:
        """Whether pictures may be sent now; not where too many wait, nor while the server ends."""
        pipeline.require_room()

    registry = CollectorRegistry()
    registry.register(PipelineCollector(pipeline))

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """What is counted, for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _add_live(app: FastAPI, pipeline: Pipeline, sources: Mapping[str, str]) -> None:
    @app.get("/api/live", response_model=LiveResponse, responses=error_responses(409, 503))
    async def live() -> JSONResponse:
        """The newest result of the live source, while somebody watches it."""
        if pipeline.error is not None:
            raise SourceError(str(pipeline.error))
        pipeline.require("snapshot")
        update = pipeline.latest
        if update is None:
            raise PipelineStateError("the source has just been started; ask again in a second")
        latency_ms = round(update.latency_ms, 2)
        result = read_result(update.detections)
        return JSONResponse({"frame": update.frame.id, "latency_ms": latency_ms, **result})

    @app.post("/api/source", status_code=204, responses=error_responses(403, 409, 421, 422))
    async def choose_source(name: str) -> None:
        """Watch another of the server's sources; only those it was started with, and the demo."""
        if name not in sources:
            raise ArgumentError(f"name must be one of {', '.join(sources)}")
        watched = pipeline.source
        if watched is not None and watched.name == name and pipeline.error is None:
            return  # others watch it: it must not start anew
        chosen = await asyncio.to_thread(parse_source, sources[name], loop=True)
        pipeline.select(chosen)

    @app.post("/api/retry", status_code=204, responses=error_responses(403, 409, 421))
    async def retry() -> None:
        """Open a lost source again."""
        pipeline.retry()


def _add_socket(
    app: FastAPI, settings: Settings, pipeline: Pipeline, intake: Intake, sources: list[str]
) -> None:
    viewers = Places(
        settings.max_viewers,
        f"{settings.max_viewers} are connected to the live view already; try again later",
    )

    @app.websocket("/ws")
    async def live_stream(websocket: WebSocket) -> None:
        detector = pipeline.detector
        hello = {
            "type": "hello",
            "version": __version__,
            "model": detector.config.name,
            "runtime": detector.runtime.description,
            "layers": detector.layer_names,
            "shown_layers": shallow_and_deep(detector.layer_names),
            "classes": [
                {"name": name, "colour": colour_hex(index)}
                for index, name in enumerate(detector.config.class_names)
            ],
            "sources": sources,
            "max_reads": settings.max_reads,
            "max_body_bytes": settings.max_body_bytes,
            "settings": settings_of(pipeline.options),
        }
        try:
            with viewers.take():
                await LiveConnection(websocket, pipeline, intake, hello).run()
        except PipelineBusyError as error:
            await turn_away(websocket, str(error))
