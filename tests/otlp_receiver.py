"""A collector on loopback that keeps the spans it is sent, by OTLP over HTTP."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """One span, ids in hex, times in seconds since 1970."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    began: float
    ended: float
    #: What went wrong; empty where nothing did.
    error: str
    facts: dict[str, Any]
    events: tuple[str, ...]
    resource: dict[str, Any]


@dataclass
class Receiver:
    """What has arrived so far. While ``hangs``, requests are taken and not answered."""

    url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)
    hangs: Event = field(default_factory=Event)
    _spans: list[SeenSpan] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    @property
    def spans(self) -> list[SeenSpan]:
        with self._lock:
            return self._spans[:]

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.headers.append(headers)
            self._spans += spans_of(request)


def spans_of(request: ExportTraceServiceRequest) -> list[SeenSpan]:
    """All spans of a request."""
    return [
        SeenSpan(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            kind=span.kind,
            began=span.start_time_unix_nano / 1e9,
            ended=span.end_time_unix_nano / 1e9,
            error=(span.status.message or "?") if span.status.code == 2 else "",
            facts=_values(span.attributes),
            events=tuple(event.name for event in span.events),
            resource=_values(of_process.resource.attributes),
        )
        for of_process in request.resource_spans
        for scope in of_process.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {
        each.key.removeprefix("reelfarm."): getattr(each.value, each.value.WhichOneof("value"))
        for each in attributes
    }


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A collector for the time of the block."""
    found, over = Receiver(), Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if found.hangs.is_set():
                over.wait()
                return
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            found.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield found
        finally:
            over.set()
            server.shutdown()
            thread.join()
