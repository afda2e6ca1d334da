"""The `read` message of the WebSocket, which `live` describes."""

import base64
import time
from typing import Any

import numpy as np

from detector_app.http.schemas import boxes_of, rates_of, timings_of
from detector_app.stream.viewer import Update
from spyv4 import Detections


def read_message(update: Update, frame_id: int, encode_ms: float) -> dict[str, Any]:
    """The message of a live frame, which took so long to encode."""
    message = _message(update.detections, frame_id, update.reads, update.latency_ms)
    message["last"] = update.last
    stages = {**update.timings_ms, "encode": encode_ms}
    return message | {
        "own": False,
        "restarted": update.restarted,
        "timings_ms": {stage: round(ms, 2) for stage, ms in stages.items()},
        "sent_ms": round(1000 * (time.monotonic() - update.frame.captured_at), 2),
    }


def own_message(
    detections: Detections, frame_id: int, reads: int, latency_ms: float, *, last: bool
) -> dict[str, Any]:
    """The message of a picture that the client sent."""
    message = _message(detections, frame_id, reads, latency_ms)
    sent_ms = message["latency_ms"]
    return message | {"last": last, "own": True, "restarted": None, "sent_ms": sent_ms}


def _message(
    detections: Detections, frame_id: int, reads: int, latency_ms: float
) -> dict[str, Any]:
    return {
        "type": "read",
        "frame": frame_id,
        "read": detections.reads,
        "reads": reads,
        "width": detections.image_size[1],
        "height": detections.image_size[0],
        "detections": boxes_of(detections),
        "firing_rates": list(rates_of(detections).values()),
        "rasters": {
            layer: [len(spikes), base64.b64encode(np.packbits(spikes).tobytes()).decode()]
            for layer, spikes in detections.rasters.items()
        },
        "heat": _heat(detections),
        "operations": {name: float(f"{n:.6g}") for name, n in detections.operations.items()},
        "latency_ms": round(latency_ms, 2),
        "timings_ms": timings_of(detections),
    }


def _heat(detections: Detections) -> dict[str, Any] | None:
    """Where the one layer spiked: bytes by rows, of which 255 stands for `peak`."""
    for layer, places in detections.heat.items():
        peak = float(places.max())
        cells = np.round(places * (255 / peak if peak else 0)).astype(np.uint8)
        return {
            "layer": layer,
            "rows": cells.shape[0],
            "columns": cells.shape[1],
            "peak": round(peak, 4),
            "cells": base64.b64encode(cells.tobytes()).decode(),
        }
    return None
