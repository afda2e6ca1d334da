"""What `/api/health`, `/metrics` and the live page say of the streams and the pictures sent."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from detector_app.http.intake import Intake
from detector_app.stream.hub import Hub
from detector_app.stream.states import State
from detector_app.stream.stream import Stream
from detector_app.stream.telemetry import percentiles
from detector_app.stream.viewer import Viewer


def figures(hub: Hub, intake: Intake) -> dict[str, Any]:
    """Counters, rates and latencies of the whole server, ready for JSON."""
    state = "failed" if hub.scheduler.failed else "running" if hub.viewers else "idle"
    sources = [
        {
            "name": feed.name,
            "state": feed.state.value,
            "error": None if feed.error is None else str(feed.error),
            "per_second": round(feed.rate.per_s, 2),
        }
        for feed in hub.feeds.values()
    ]
    return {
        "state": state,
        "sources": sources,
        "viewers": hub.viewers,
        "frames": asdict(hub.counts),
        "queue": {
            "waiting": intake.waiting,
            "size": intake.room.pictures,
            "reads": intake.owed,
            "max_reads": intake.room.reads,
        },
        **_speed(hub, intake, hub.streams),
    }


def seen_by(viewer: Viewer, hub: Hub, intake: Intake) -> dict[str, Any]:
    """The same of what one viewer watches."""
    stream = viewer.stream
    error = None if stream is None else stream.feed.error
    return {
        "state": (State.PAUSED if stream is None else stream.state).value,
        "source": None if stream is None else stream.feed.name,
        "error": None if error is None else str(error),
        "viewers": hub.viewers,
        "runtime": hub.detector.runtime.description,
        "build": hub.detector.engine.build,
        **_speed(hub, intake, () if stream is None else (stream,)),
    }


def _speed(hub: Hub, intake: Intake, streams: Sequence[Stream]) -> dict[str, Any]:
    """Rates and latencies."""
    feeds = {stream.feed.name: stream.feed for stream in streams}.values()
    return {
        "per_second": {
            "capture": round(sum(feed.rate.per_s for feed in feeds), 2),
            "inference": round(sum(stream.rate.per_s for stream in streams), 2),
            "drop": round(sum(stream.drop_rate.per_s for stream in streams), 2),
            "detect": round(intake.rate.per_s, 2),
            "reads": round(hub.scheduler.read_rate.per_s, 2),
        },
        "latency_ms": {
            "live": percentiles(*(stream.latency for stream in streams)),
            "detect": percentiles(intake.latency),
        },
    }
