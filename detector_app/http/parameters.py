"""How the API's description shows what `POST /detect` takes and gives."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field

from detector_app.http.schemas import AskedReads, FrameLine, error_responses
from spyv4.choices import AUTO

JPEG, LINES = "image/jpeg", "application/x-ndjson"


class Asked(BaseModel):
    """The query as it is described; what it says is checked by `check_parameters`."""

    reads: AskedReads | None = Field(
        None,
        description="looks, at most --max-reads of the server; auto: until two reads agree",
    )
    score_threshold: float | None = Field(
        None, ge=0, le=1, description="least score; that of the weights otherwise"
    )
    iou_threshold: float | None = Field(None, ge=0, le=1, description="overlap that merges boxes")
    per_read: bool | None = Field(None, description="also the boxes after every read")
    every: int | None = Field(None, ge=1, description="of a clip: look at one frame in so many")
    classes: str | None = Field(None, description="only these, separated by commas")
    agnostic_nms: bool | None = Field(None, description="merge boxes of different classes, too")


AskedQuery = Annotated[Asked, Query()]


def body(max_reads: int) -> dict[str, Any]:
    """The body of the request."""
    picture = {"type": "string", "format": "binary"}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    whole = {"type": "integer", "minimum": 1}
    fields = {
        "image": {"oneOf": [picture, {"type": "array", "items": picture}]},
        "reads": {"anyOf": [{**whole, "maximum": max_reads}, {"const": AUTO}]},
        "score_threshold": share,
        "iou_threshold": share,
        "per_read": {"type": "boolean"},
        "every": whole,
        "classes": {"type": "string"},
        "agnostic_nms": {"type": "boolean"},
    }
    form = {"type": "object", "required": ["image"], "properties": fields}
    content = {
        "image/*": {"schema": picture},
        "video/*": {"schema": picture},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}


def responses() -> dict[int | str, dict[str, Any]]:
    """All that may be answered."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    line = FrameLine.model_json_schema(ref_template="#/components/schemas/{model}")
    del line["$defs"]  # they are among the components
    lines = {"schema": line}
    found: dict[int | str, dict[str, Any]] = {200: {"content": {JPEG: binary, LINES: lines}}}
    return error_responses(400, 401, 403, 408, 409, 413, 415, 421, 422, 503) | found
