"""What `/api/health` and the live page say of the pipeline."""

from dataclasses import asdict
from typing import Any

from detector_app.pipeline import Pipeline


def statistics(pipeline: Pipeline) -> dict[str, Any]:
    """Counters, rates and latencies, ready for JSON."""
    capture, source, error = pipeline.capture, pipeline.source, pipeline.error
    return {
        "state": pipeline.state.value,
        "source": source.name if source is not None else None,
        "error": str(error) if error is not None else None,
        "viewers": pipeline.viewers,
        "frames": asdict(capture.counts),
        "per_second": {
            "capture": round(capture.capture_rate.per_s, 2),
            "inference": round(pipeline.frame_rate.per_s, 2),
            "drop": round(capture.drop_rate.per_s, 2),
            "detect": round(pipeline.jobs.rate.per_s, 2),
        },
        "latency_ms": {
            "live": pipeline.live_latency.percentiles(),
            "detect": pipeline.jobs.latency.percentiles(),
        },
        "queue": {"waiting": len(pipeline.jobs), "size": pipeline.jobs.size},
    }
