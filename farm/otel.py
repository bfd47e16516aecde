"""Spans by OpenTelemetry, sent to a collector in batches by a thread beside the work.

Nothing waits for the collector. Spans queue up to a bound; what does not fit, or what it does not
take in time, is dropped, which is said once. A process that ends gives the last batch a moment.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

import requests
import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode

from farm.settings import LOOPBACK
from jobs.traceparent import TraceContext
from jobs.tracing import Facts, Kind, Span

_LOG = structlog.get_logger(__name__)

#: Seconds the collector gets to take a batch, and the last one of a process.
_TIMEOUT: Final = 3.0
_FAREWELL: Final = 1.5
#: Milliseconds between two batches, spans of one, and spans that wait at the most.
_EVERY: Final = 1000
_BATCH: Final = 256
_QUEUE: Final = 2048

_KINDS: Final[Mapping[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class OtelTracer:
    """Takes spans for the collector at ``endpoint``, the full URL."""

    on = True

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str],
        process: str,
        namespace: str,
        share: float = 1.0,
    ) -> None:
        _hush()
        exporter = OTLPSpanExporter(
            endpoint,
            headers=dict(headers),
            timeout=_TIMEOUT,
            compression=Compression.Gzip,
            session=_session(endpoint),
        )
        self._processor = BatchSpanProcessor(
            _Exporter(exporter, _shown(endpoint)),
            max_queue_size=_QUEUE,
            schedule_delay_millis=_EVERY,
            max_export_batch_size=_BATCH,
        )
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)),
            resource=_resource(process, namespace),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attribute_length=4096),
        )
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("reelfarm", version("reelfarm"))

    @contextmanager
    def _span(
        self, name: str, kind: Kind, context: Context | None, facts: Facts | None
    ) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name, context, _KINDS[kind], _attributes(facts), set_status_on_exception=True
        ) as span:
            yield _Span(span)

    def span(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        parent: TraceContext | None = None,
        trace: TraceContext | None = None,
        facts: Facts | None = None,
    ) -> AbstractContextManager[Span]:
        """See :class:`jobs.tracing.Tracer`."""
        if parent is None and trace is not None and not _is_within(trace):
            parent = trace
        context = None if parent is None else _context(parent)
        return self._span(name, kind, context, facts)

    def past(
        self,
        name: str,
        began: float,
        ended: float,
        *,
        parent: TraceContext | None = None,
        facts: Facts | None = None,
        error: str | None = None,
    ) -> None:
        """See :class:`jobs.tracing.Tracer`."""
        context = None if parent is None else _context(parent)
        span = self._tracer.start_span(
            name, context, attributes=_attributes(facts), start_time=_nanoseconds(began)
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(_nanoseconds(ended))

    def current(self) -> Span:
        """See :class:`jobs.tracing.Tracer`."""
        return _Span(trace.get_current_span())

    def close(self) -> None:
        """Send what is left, for a moment; a collector that does not answer holds nobody up."""
        last = threading.Thread(target=self._processor.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(_FAREWELL)


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def context(self) -> TraceContext | None:
        found = self._span.get_span_context()
        if not found.is_valid:
            return None
        trace_id = trace.format_trace_id(found.trace_id)
        return TraceContext(
            trace_id, trace.format_span_id(found.span_id), found.trace_flags.sampled
        )

    def tell(self, facts: Facts) -> None:
        self._span.set_attributes(_attributes(facts))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, why: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, why))

    def event(self, name: str, facts: Facts) -> None:
        self._span.add_event(name, _attributes(facts))


class _Exporter(SpanExporter):
    """Says once that the collector takes nothing, and once that it does again."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._failed = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failed:
            _LOG.warning(
                "traces_not_sent", endpoint=self._endpoint, effect="spans are dropped; work goes on"
            )
        elif self._failed and not failed:
            _LOG.info("traces_sent_again", endpoint=self._endpoint)
        self._failed = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _hush() -> None:
    """The library tells of every batch that fails, with the collector's whole answer."""
    for name in ("opentelemetry", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _session(endpoint: str) -> requests.Session:
    session = requests.Session()
    # No proxy of the environment could reach it.
    session.trust_env = urlsplit(endpoint).hostname not in LOOPBACK
    return session


def _shown(endpoint: str) -> str:
    """The collector's address without a password in it."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or ''}".rstrip(":")


def _resource(process: str, namespace: str) -> Resource:
    host = socket.gethostname()
    return Resource(
        {
            "service.name": "reelfarm",
            "service.namespace": namespace,
            "service.version": version("reelfarm"),
            "service.instance.id": f"{host}-{os.getpid()}",
            "host.name": host,
            "host.arch": platform.machine(),
            "process.pid": os.getpid(),
            "reelfarm.process": process,
        }
    )


def _context(parent: TraceContext) -> Context:
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else 0)
    found = trace.SpanContext(
        int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(found), Context())


def _is_within(around: TraceContext) -> bool:
    """Whether the span around is of that trace."""
    here = trace.get_current_span().get_span_context()
    return here.is_valid and here.trace_id == int(around.trace_id, 16)


def _attributes(facts: Facts | None) -> dict[str, str | int | float | bool]:
    """The facts that say something; ours under a name of ours."""
    told = {name: value for name, value in (facts or {}).items() if value is not None}
    return {name if "." in name else f"reelfarm.{name}": value for name, value in told.items()}


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
