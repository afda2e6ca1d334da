"""`/metrics`: what the server counts, for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from detector_app.health import statistics
from detector_app.pipeline import Pipeline
from detector_app.states import State


class PipelineCollector(Collector):
    """Reads the figures of `/api/health` when it is asked.

    Args:
        pipeline: whose they are.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        figures = statistics(self._pipeline)
        frames = CounterMetricFamily("spyv4_frames", "Live frames.", labels=["fate"])
        for fate in ("captured", "consumed", "dropped"):
            frames.add_metric([fate], figures["frames"][fate])
        yield frames
        yield CounterMetricFamily(
            "spyv4_pictures", "Pictures that clients sent and were answered.", self._done
        )
        rates = GaugeMetricFamily("spyv4_rate_per_second", "Recent rates.", labels=["of"])
        for name, value in figures["per_second"].items():
            rates.add_metric([name], value)
        yield rates
        latency = GaugeMetricFamily(
            "spyv4_latency_seconds", "Recent latencies.", labels=["of", "quantile"]
        )
        for name, percentiles in figures["latency_ms"].items():
            for quantile, value in percentiles.items():
                latency.add_metric([name, f"0.{quantile.removeprefix('p')}"], value / 1000)
        yield latency
        yield GaugeMetricFamily("spyv4_viewers", "Live viewers.", figures["viewers"])
        yield GaugeMetricFamily(
            "spyv4_queue_waiting", "Pictures that wait.", figures["queue"]["waiting"]
        )
        lost = self._pipeline.state is State.ERROR
        yield GaugeMetricFamily("spyv4_source_lost", "1 where the source was lost.", int(lost))

    @property
    def _done(self) -> int:
        return self._pipeline.jobs.done
