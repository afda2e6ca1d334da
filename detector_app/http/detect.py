"""`POST /detect`: pictures in, boxes out; or a clip in, and a line of boxes for every frame."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from detector_app.errors import PayloadTooLargeError
from detector_app.http import parameters as described
from detector_app.http.intake import Intake
from detector_app.http.limits import Deadlines, Places
from detector_app.http.schemas import (
    DetectParameters,
    DetectResponse,
    SeveralResponse,
    boxes_of,
    check_names,
    check_parameters,
    rates_of,
    read_result,
    timings_of,
)
from detector_app.http.uploads import Bodies, Upload, discard_body, while_connected
from detector_app.http.video import Clips, begun, clip_suffix
from detector_app.settings import Settings
from spyv4 import Detections
from spyv4.errors import ArgumentError, ImageError, SPYv4Error

T = TypeVar("T")
AT_A_TIME = 4
"""How many pictures of one request are looked at at a time, at most half of all there are."""


def add_detect(
    app: FastAPI, settings: Settings, intake: Intake, clips: Clips, deadlines: Deadlines
) -> None:
    """Add the route to `app`."""
    route = DetectRoute(settings, intake, clips, deadlines)

    @app.post(
        "/detect",
        response_model=DetectResponse | SeveralResponse,
        responses=described.responses(),
        openapi_extra=described.body(settings.max_reads),
    )
    async def detect(request: Request, query: described.AskedQuery) -> Response:
        """Find things in the picture that is the body, or in the files of a multipart form.

        The parameters may also be fields of the form. `Accept: image/jpeg` asks for the picture
        with the boxes drawn onto it. Several pictures are answered in their order, each with what
        was found or what is wrong with it. A clip (MP4, AVI, MKV or WebM) is answered by a line of
        JSON for every frame, as soon as that was looked at.
        """
        return await route.answer(request, query.model_dump())


class DetectRoute:
    """What is done with a request.

    Args:
        settings: limits and defaults.
        intake: looks at pictures.
        clips: looks at clips.
        deadlines: how long a client may take to send.
    """

    def __init__(
        self, settings: Settings, intake: Intake, clips: Clips, deadlines: Deadlines
    ) -> None:
        self._settings, self._intake, self._clips = settings, intake, clips
        self._deadlines = deadlines
        self._bodies = Bodies(settings.max_body_bytes, deadlines)
        self._defaults = settings.sent_options(intake.model)
        places = settings.max_uploads
        self._uploads = Places(
            places, f"{places} requests are on their way already; send it again in a second"
        )

    async def answer(self, request: Request, asked: dict[str, Any]) -> Response:
        """The answer to a request whose query asks for `asked`."""
        started = time.perf_counter()
        with contextlib.ExitStack() as place:
            try:  # before the body is read
                check_names(request.query_params)
                options = self._check(asked).options(self._defaults)
                self._intake.require_room(options.most_reads(self._intake.model))
                place.enter_context(self._uploads.take())
            except SPYv4Error:
                await discard_body(request)
                raise
            upload = await self._bodies.read(request, place)
            check_names(upload.fields)
            parameters = self._check(asked | upload.fields)
            drawn = request.headers.get("accept", "").strip().lower() == described.JPEG
            if any(map(clip_suffix, upload.files)):
                return await self._clip(upload, parameters)
            if len(upload.files) > 1:
                several = self._several(upload, parameters, drawn=drawn)
                return JSONResponse({"results": await self._await(request, several)})
            picture = _Picture(upload.files.pop(), started, place.close)
            work = self._picture(picture, parameters, drawn=drawn)
            found, jpeg = await self._await(request, work)
        return JSONResponse(found) if jpeg is None else Response(jpeg, media_type=described.JPEG)

    async def _await(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        limit_s = self._deadlines.answer_s
        return await while_connected(request, work, limit_s, self._intake.refused)

    def _check(self, asked: dict[str, Any]) -> DetectParameters:
        names = self._intake.model.class_names
        return check_parameters(asked, self._defaults, self._settings.max_reads, names)

    async def _clip(self, upload: Upload, parameters: DetectParameters) -> Response:
        if len(upload.files) > 1:
            raise ArgumentError("send one clip at a time, and no pictures beside it")
        options = parameters.options(self._defaults)
        lines = self._clips.lines(upload.files.pop(), options, parameters.every)
        return StreamingResponse(await begun(lines), media_type=described.LINES)

    async def _several(
        self, upload: Upload, parameters: DetectParameters, *, drawn: bool
    ) -> list[dict[str, Any]]:
        """What was found in each picture, or what is wrong with it."""
        if drawn:
            raise ArgumentError(f"Accept: {described.JPEG} is for one picture at a time")
        turns = asyncio.Semaphore(max(1, min(AT_A_TIME, self._intake.room.pictures // 2)))

        async def look(data: bytes) -> dict[str, Any]:
            async with turns:
                picture = _Picture(data, time.perf_counter(), lambda: None)
                try:
                    return (await self._picture(picture, parameters, drawn=False))[0]
                except (ImageError, PayloadTooLargeError) as error:
                    return {"detail": str(error)}

        looks = [asyncio.create_task(look(data)) for data in upload.files]
        try:
            return await asyncio.gather(*looks)
        finally:
            for task in looks:
                task.cancel()

    async def _picture(
        self, picture: "_Picture", parameters: DetectParameters, *, drawn: bool
    ) -> tuple[dict[str, Any], bytes | None]:
        """What was found in a picture, and the picture with its boxes where it is to be drawn."""
        partials: list[Detections] = []
        result, jpeg = await self._intake.look(
            picture.hand_over(),
            parameters.options(self._defaults),
            (lambda found, _: partials.append(found)) if parameters.per_read else None,
            release=picture.release,
            annotated=drawn,
        )
        return _answer(result, partials) | {"timings_ms": picture.timings(result)}, jpeg


class _Picture:
    """A picture that was sent, and when.

    Args:
        data: of the file.
        started: `time.perf_counter()` when the request came.
        let_go: called once it is decoded and waits for the detector, so that the next may come.
    """

    def __init__(self, data: bytes, started: float, let_go: Callable[[], None]) -> None:
        self._data, self._started, self._let_go = data, started, let_go
        self._decoded = started

    def hand_over(self) -> bytes:
        """The data, which is not kept."""
        data, self._data = self._data, b""
        return data

    def release(self) -> None:
        """Note that it is decoded."""
        self._decoded = time.perf_counter()
        self._let_go()

    def timings(self, result: Detections) -> dict[str, float]:
        """Milliseconds by stage."""
        finished, timings = time.perf_counter(), timings_of(result)
        busy = timings["network"] + timings["decode"]
        timings["wait"] = round(max(0.0, 1000 * (finished - self._decoded) - busy), 2)
        timings["total"] = round(1000 * (finished - self._started), 2)
        return timings


def _answer(result: Detections, partials: list[Detections]) -> dict[str, Any]:
    """What was found, after the last read and those before it, as plain values."""
    return {
        "width": result.image_size[1],
        "height": result.image_size[0],
        "reads": result.reads,
        "detections": boxes_of(result),
        "firing_rates": rates_of(result),
        "per_read": [read_result(partial) for partial in partials] or None,
        "classes": result.class_names,
    }
