"""`/metrics`: what the server counts, for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from detector_app.http.figures import figures
from detector_app.http.intake import Intake
from detector_app.stream.hub import Hub
from detector_app.stream.states import State


class HubCollector(Collector):
    """Reads the figures of `/api/health` when it is asked.

    Args:
        hub: what is watched.
        intake: what is sent.
    """

    def __init__(self, hub: Hub, intake: Intake) -> None:
        self._hub, self._intake = hub, intake

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        said = figures(self._hub, self._intake)
        frames = CounterMetricFamily("spyv4_frames", "Live frames.", labels=["fate"])
        for fate in ("captured", "consumed", "dropped"):
            frames.add_metric([fate], said["frames"][fate])
        yield frames
        yield CounterMetricFamily(
            "spyv4_pictures", "Pictures that clients sent and were answered.", self._intake.done
        )
        scheduler = self._hub.scheduler
        yield CounterMetricFamily(
            "spyv4_reads", "Reads of all pictures.", scheduler.read_rate.count
        )
        yield GaugeMetricFamily(
            "spyv4_detector_failed", "1 where only a new start would help.", int(scheduler.failed)
        )
        rates = GaugeMetricFamily("spyv4_rate_per_second", "Recent rates.", labels=["of"])
        for name, value in said["per_second"].items():
            rates.add_metric([name], value)
        yield rates
        latency = GaugeMetricFamily(
            "spyv4_latency_seconds", "Recent latencies.", labels=["of", "quantile"]
        )
        for name, percentiles in said["latency_ms"].items():
            for quantile, value in percentiles.items():
                latency.add_metric([name, f"0.{quantile.removeprefix('p')}"], value / 1000)
        yield latency
        yield GaugeMetricFamily("spyv4_viewers", "Live viewers.", said["viewers"])
        yield GaugeMetricFamily(
            "spyv4_queue_waiting", "Pictures that wait.", said["queue"]["waiting"]
        )
        yield GaugeMetricFamily(
            "spyv4_queue_reads", "Reads that they want.", said["queue"]["reads"]
        )
        lost = GaugeMetricFamily(
            "spyv4_source_lost", "1 where a source is lost.", labels=["source"]
        )
        for source in said["sources"]:
            lost.add_metric([source["name"]], int(source["state"] == State.LOST.value))
        yield lost
