"""The `read` message of the WebSocket, which `live` describes."""

import base64
from typing import Any

import numpy as np

from detector_app.schemas import boxes_of, rates_of, timings_of
from spyv4 import Detections


def read_message(
    detections: Detections, frame_id: int, reads: int, latency_ms: float, *, own: bool
) -> dict[str, Any]:
    """A `read` message as the module's docstring describes it."""
    return {
        "type": "read",
        "frame": frame_id,
        "own": own,
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
        "latency_ms": round(latency_ms, 2),
        "timings_ms": timings_of(detections),
    }
