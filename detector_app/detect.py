"""`POST /detect`: a picture in, boxes out."""

import contextlib
import time
from typing import Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse

from detector_app.intake import Intake
from detector_app.limits import Places
from detector_app.pipeline import Pipeline
from detector_app.schemas import (
    DetectResponse,
    boxes_of,
    check_parameters,
    error_responses,
    rates_of,
    read_result,
)
from detector_app.settings import Settings
from detector_app.uploads import discard_body, read_upload, while_connected
from spyv4 import Detections
from spyv4.errors import SPYv4Error


def detect_body(max_reads: int) -> dict[str, Any]:
    """How the API's description shows the body."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "image/*": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["image"],
                        "properties": {
                            "image": {"type": "string", "format": "binary"},
                            "reads": {"type": "integer", "minimum": 1, "maximum": max_reads},
                            "score_threshold": {"type": "number", "minimum": 0, "maximum": 1},
                            "iou_threshold": {"type": "number", "minimum": 0, "maximum": 1},
                            "per_read": {"type": "boolean"},
                        },
                    }
                },
            },
        }
    }


def add_detect(app: FastAPI) -> None:
    """Add the route to `app`, in whose state it finds what it needs."""
    settings: Settings = app.state.settings
    uploads = Places(
        settings.max_uploads,
        f"{settings.max_uploads} pictures are on their way already; send it again in a second",
    )

    @app.post(
        "/detect",
        response_model=DetectResponse,
        responses=error_responses(400, 403, 408, 409, 413, 415, 421, 422, 503),
        openapi_extra=detect_body(settings.max_reads),
    )
    async def detect(
        request: Request,
        reads: int | None = Query(
            None, description=f"looks at the picture, 1..{settings.max_reads}"
        ),
        score_threshold: float | None = Query(
            None, description="least score, 0..1; that of the weights otherwise"
        ),
        iou_threshold: float | None = Query(None, description="overlap that merges boxes, 0..1"),
        per_read: bool | None = Query(None, description="also the boxes after every read"),
    ) -> JSONResponse:
        """Find things in the picture that is the body, or the one file of a multipart form.

        The parameters may also be fields of the form.
        """
        started = time.perf_counter()
        pipeline: Pipeline = app.state.pipeline
        intake: Intake = app.state.intake
        query = {
            "reads": reads,
            "score_threshold": score_threshold,
            "iou_threshold": iou_threshold,
            "per_read": per_read,
        }
        defaults = settings.sent_options(pipeline.detector.config)
        with contextlib.ExitStack() as place:
            try:  # before the body is read
                pipeline.require_room()
                check_parameters(query, defaults, settings.max_reads)
                place.enter_context(uploads.take())
            except SPYv4Error:
                await discard_body(request)
                raise
            data, fields = await read_upload(request, settings.max_body_bytes, app.state.deadlines)
            parameters = check_parameters(query | fields, defaults, settings.max_reads)
            picture = await while_connected(request, intake.decode(data))
            del data
        partials: list[Detections] = []
        on_read = partials.append if parameters.per_read else None
        submitted = time.perf_counter()
        result = await while_connected(
            request, intake.look(picture, parameters.options(defaults), on_read)
        )
        finished = time.perf_counter()
        timings = {stage: round(ms, 2) for stage, ms in result.timings_ms.items()}
        timings["wait"] = round(1000 * (finished - submitted) - sum(timings.values()), 2)
        timings["total"] = round(1000 * (finished - started), 2)
        body = {
            "width": result.image_size[1],
            "height": result.image_size[0],
            "reads": result.reads,
            "detections": boxes_of(result),
            "firing_rates": rates_of(result),
            "timings_ms": timings,
            "per_read": [read_result(partial) for partial in partials] or None,
        }
        return JSONResponse(body)
