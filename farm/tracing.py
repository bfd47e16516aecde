"""Traces, where a collector is set; without one the libraries are not even imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from farm.settings import Settings, headers_of
from jobs.tracing import OFF, Tracer


@contextmanager
def tracing(settings: Settings, process: str) -> Iterator[Tracer]:
    """What takes this process's spans; at the end they are sent, if that takes but a moment.

    ``process`` is the kind it is of, such as ``worker``.
    """
    if settings.otlp_endpoint is None:
        yield OFF
        return
    if sys.modules.get("opentelemetry.sdk", sys) is None:  # hidden, see the package
        del sys.modules["opentelemetry.sdk"]
    from farm.otel import OtelTracer

    secret = settings.otlp_headers
    tracer = OtelTracer(
        f"{settings.otlp_endpoint.rstrip('/')}/v1/traces",
        headers=headers_of(secret.get_secret_value()) if secret else {},
        process=process,
        namespace=settings.namespace,
        share=settings.trace_sample,
    )
    try:
        yield tracer
    finally:
        tracer.close()
