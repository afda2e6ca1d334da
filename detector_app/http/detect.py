"""`POST /detect`: a picture in, boxes out."""

import contextlib
import time
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from detector_app.http.intake import Intake
from detector_app.http.limits import Deadlines, Places
from detector_app.http.schemas import (
    DetectResponse,
    boxes_of,
    check_names,
    check_parameters,
    error_responses,
    rates_of,
    read_result,
    timings_of,
)
from detector_app.http.uploads import discard_body, read_upload, while_connected
from detector_app.settings import Settings
from spyv4 import Detections
from spyv4.errors import SPYv4Error

JPEG = "image/jpeg"


def detect_body(max_reads: int) -> dict[str, Any]:
    """How the API's description shows the body."""
    picture = {"type": "string", "format": "binary"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    fields = {
        "image": picture,
        "reads": {"type": "integer", "minimum": 1, "maximum": max_reads},
        "score_threshold": share,
        "iou_threshold": share,
        "per_read": {"type": "boolean"},
    }
    form = {"type": "object", "required": ["image"], "properties": fields}
    content = {"image/*": {"schema": picture}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


def add_detect(app: FastAPI, settings: Settings, intake: Intake, deadlines: Deadlines) -> None:
    """Add the route to `app`."""
    most, places = settings.max_reads, settings.max_uploads
    uploads = Places(
        places, f"{places} pictures are on their way already; send it again in a second"
    )

    drawn: dict[int | str, dict[str, Any]] = {
        200: {"content": {JPEG: {"schema": {"type": "string", "format": "binary"}}}}
    }

    class Asked(BaseModel):
        reads: int | None = Field(None, description=f"looks at the picture, 1..{most}")
        score_threshold: float | None = Field(
            None, description="least score, 0..1; that of the weights otherwise"
        )
        iou_threshold: float | None = Field(None, description="overlap that merges boxes, 0..1")
        per_read: bool | None = Field(None, description="also the boxes after every read")

    @app.post(
        "/detect",
        response_model=DetectResponse,
        responses=error_responses(400, 401, 403, 408, 409, 413, 415, 421, 422, 503) | drawn,
        openapi_extra=detect_body(most),
    )
    async def detect(request: Request, query: Annotated[Asked, Query()]) -> Response:
        """Find things in the picture that is the body, or the one file of a multipart form.

        The parameters may also be fields of the form. `Accept: image/jpeg` asks for the picture
        with the boxes drawn onto it.
        """
        asked = query.model_dump()
        body = await _detect(request, asked, settings, intake, uploads, deadlines)
        return Response(body, media_type=JPEG) if isinstance(body, bytes) else JSONResponse(body)


async def _detect(
    request: Request,
    asked: dict[str, Any],
    settings: Settings,
    intake: Intake,
    uploads: Places,
    deadlines: Deadlines,
) -> dict[str, Any] | bytes:
    """What is answered to a request whose query asks for `asked`."""
    started = submitted = time.perf_counter()
    defaults = settings.sent_options(intake.model)
    with contextlib.ExitStack() as place:
        try:  # before the body is read
            check_names(request.query_params)
            parameters = check_parameters(asked, defaults, settings.max_reads)
            intake.require_room(parameters.reads)
            place.enter_context(uploads.take())
        except SPYv4Error:
            await discard_body(request)
            raise
        data, fields = await read_upload(request, settings.max_body_bytes, deadlines)
        check_names(fields)
        parameters = check_parameters(asked | fields, defaults, settings.max_reads)

        def release() -> None:
            """The picture is decoded and waits for the detector; the next may come."""
            nonlocal submitted
            submitted = time.perf_counter()
            place.close()

        partials: list[Detections] = []
        on_read = partials.append if parameters.per_read else None
        look = intake.look(
            data,
            parameters.options(defaults),
            on_read,
            release=release,
            annotated=request.headers.get("accept", "").strip().lower() == JPEG,
        )
        del data
        result, jpeg = await while_connected(request, look)
    if jpeg is not None:
        return jpeg
    finished = time.perf_counter()
    timings = timings_of(result)
    timings["wait"] = round(1000 * (finished - submitted) - sum(timings.values()), 2)
    timings["total"] = round(1000 * (finished - started), 2)
    return _answer(result, partials) | {"timings_ms": timings}


def _answer(result: Detections, partials: list[Detections]) -> dict[str, Any]:
    """What was found, after the last read and those before it, as plain values."""
    return {
        "width": result.image_size[1],
        "height": result.image_size[0],
        "reads": result.reads,
        "detections": boxes_of(result),
        "firing_rates": rates_of(result),
        "per_read": [read_result(partial) for partial in partials] or None,
    }
