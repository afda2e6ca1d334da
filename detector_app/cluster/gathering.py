"""What all replicas say of themselves, as one."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import httpx
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from starlette.responses import JSONResponse, Response

from detector_app.cluster.forwarding import Forwarder
from detector_app.cluster.leases import Leases

PATIENCE_S = 3.0
SUMMED = ("frames", "queue", "per_second")
"""Parts of `/api/health` whose numbers are those of all replicas together."""


class Gatherer:
    """Asks all replicas.

    Args:
        leases: knows them.
        forwarder: has a client for them.
    """

    def __init__(self, leases: Leases, forwarder: Forwarder) -> None:
        self._leases, self._forwarder = leases, forwarder

    async def health(self) -> Response:
        """As one server would: sums, the worst latencies, and each replica under `replicas`."""
        answers = await self._ask("/api/health")
        bodies = {address: answer.json() for address, answer in answers.items()}
        good = [bodies[a] for a, answer in answers.items() if answer.status_code == HTTPStatus.OK]
        status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
        body = together(good or list(bodies.values()))
        return JSONResponse(body | {"replicas": bodies}, status)

    async def metrics(self) -> Response:
        """For Prometheus: each replica's, with its address as the label `replica`, and ours."""
        answers = await self._ask("/metrics")
        texts = {address: answer.text for address, answer in answers.items()}
        registry = CollectorRegistry()
        registry.register(_Labelled(texts, self._forwarder))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def _ask(self, path: str) -> dict[str, httpx.Response]:
        """The answers of those that answer in time, by address."""

        async def ask(address: str) -> httpx.Response | None:
            url, headers = f"http://{address}{path}", self._forwarder.headers
            try:
                return await self._forwarder.client.get(url, headers=headers, timeout=PATIENCE_S)
            except httpx.TransportError:
                return None

        addresses = sorted(await self._leases.addresses())
        answers = await asyncio.gather(*map(ask, addresses))
        return {a: answer for a, answer in zip(addresses, answers, strict=True) if answer}


def together(bodies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One `/api/health` of those of several replicas; nothing of none."""
    if not bodies:
        return {"state": "failed"}
    body = dict(bodies[0])
    body["viewers"] = sum(each["viewers"] for each in bodies)
    for name in SUMMED:
        keys = body[name]
        body[name] = {key: round(sum(each[name][key] for each in bodies), 2) for key in keys}
    body["latency_ms"] = {
        name: {
            key: max(each["latency_ms"][name].get(key, 0.0) for each in bodies) for key in quantiles
        }
        for name, quantiles in body["latency_ms"].items()
    }
    if any(each["state"] == "running" for each in bodies):
        body["state"] = "running"
    return body


class _Labelled(Collector):
    """Metrics of several texts, told apart by a label."""

    def __init__(self, texts: Mapping[str, str], forwarder: Forwarder) -> None:
        self._texts, self._forwarder = texts, forwarder

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        families: dict[str, Metric] = {}
        for address, text in self._texts.items():
            for found in _families(text):
                family = families.setdefault(
                    found.name, Metric(found.name, found.documentation, found.type)
                )
                for sample in found.samples:
                    family.add_sample(
                        sample.name, {**sample.labels, "replica": address}, sample.value
                    )
        yield from families.values()
        yield GaugeMetricFamily("spyv4_replicas", "Replicas that answer.", len(self._texts))
        yield CounterMetricFamily(
            "spyv4_requests_retried",
            "Requests that this front began again on another replica.",
            self._forwarder.retried,
        )
        yield CounterMetricFamily(
            "spyv4_requests_unanswered",
            "Requests that this front answered by 503, since no replica did.",
            self._forwarder.failed,
        )


def _families(text: str) -> Iterable[Metric]:
    families: Iterable[Metric] = text_string_to_metric_families(text)
    return families
