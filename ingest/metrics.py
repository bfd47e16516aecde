"""``GET /metrics``: the farm's figures in the formats of Prometheus and OpenMetrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Annotated, Final

from anyio import fail_after
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Response
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from ingest.measures import Snapshot
from ingest.state import Deps
from jobs.metrics import METRICS, Metric
from jobs.tallies import Distribution, Labels

router = APIRouter(tags=["farm"])

#: Seconds after which a scrape is answered without Redis, which Prometheus gives ten.
TIMEOUT: Final = 3.0


@router.get("/metrics", include_in_schema=False)
async def metrics(deps: Deps, accept: Annotated[str, Header()] = "") -> Response:
    """Every metric of the farm; where Redis is down, what this process knows."""
    measure, limiter = deps.measures, deps.threads.measures
    try:
        with fail_after(TIMEOUT):
            snapshot = await run_sync(measure, limiter=limiter, abandon_on_cancel=True)
    except TimeoutError:
        snapshot = measure.alone()
    encode, content_type = choose_encoder(accept)
    return Response(encode(_Shown(snapshot)), media_type=content_type)


class _Shown(Collector):
    """A snapshot as what the library renders."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        return families(self._snapshot)


def families(snapshot: Snapshot) -> Iterator[Family]:
    """The metrics of a snapshot, in the order of the table; without Redis those that are known."""
    tallied = snapshot.tallied
    for metric in METRICS:
        family: Family | None = None
        if metric.kind == "gauge":
            family = _gauge(metric, snapshot.gauges.get(metric, {}))
        elif tallied is not None and metric.kind == "counter":
            family = _counter(metric, tallied.counters.get(metric, {}))
        elif tallied is not None:
            family = _histogram(metric, tallied.histograms.get(metric, {}))
        if family is not None and (family.samples or tallied is not None):
            yield family


def _gauge(metric: Metric, values: Mapping[Labels, float]) -> Family:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in sorted(values.items()):
        family.add_metric(labels, value)
    return family


def _counter(metric: Metric, values: Mapping[Labels, float]) -> Family:
    name = metric.name.removesuffix("_total")
    family = CounterMetricFamily(name, metric.help, labels=metric.labels)
    for labels, value in sorted({**dict.fromkeys(metric.zeros, 0.0), **values}.items()):
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, values: Mapping[Labels, Distribution]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*(repr(bound) for bound in metric.buckets), "+Inf"]
    nothing = Distribution((0.0,) * len(bounds), 0.0)
    for labels, found in sorted({**dict.fromkeys(metric.zeros, nothing), **values}.items()):
        sums = accumulate(found.counts)
        family.add_metric(labels, list(zip(bounds, sums, strict=True)), found.total)
    return family
