"""The outermost layer: a request id, one log line a request, and a clean end of every one.

It also decides which trace a request belongs to: the one its ``traceparent`` names, else one of its
own. Requests that change something are spans of it; those that only look are where the caller's
trace has to show them.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.answers import answer, refusal_of
from jobs.ids import is_video_id
from jobs.metrics import HTTP_DURATION
from jobs.tallies import Labels, Tallies
from jobs.traceparent import TraceContext, fresh, parse
from jobs.tracing import NO_SPAN, OFF, Span, Tracer
from storage.errors import StorageError

_LOG = structlog.get_logger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Methods that change nothing.
_LOOKING: Final = ("GET", "HEAD", "OPTIONS")
_VIDEO: Final = re.compile(r"/(?:v1/videos|v1/farm/videos|play)/([^/]+)")
_SERVER_ERROR: Final = 500
_METHODS: Final = frozenset({*_LOOKING, "POST", "PUT", "PATCH", "DELETE"})
#: Polled every few seconds by machines; logged at ``debug``.
_POLLED: Final = ("/healthz", "/readyz", "/metrics")


def new_request_id() -> str:
    """64 random bits in hex."""
    return secrets.token_hex(8)


class _Watched:
    """Notes what is sent for one request, and adds the headers every answer has."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status: int | None = None
        self.size = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request_id
            headers["x-content-type-options"] = "nosniff"
        elif message["type"] == "http.response.body":
            self.size += len(message.get("body", b""))
        await self._send(message)


class AccessLog:
    """Wraps the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        clock: Callable[[], float] = time.perf_counter,
        new_id: Callable[[], str] = new_request_id,
        tracer: Tracer = OFF,
        tallies: Tallies | None = None,
    ) -> None:
        self._app = app
        self._tallies = tallies or Tallies()
        self._tracer = tracer
        self._clock = clock
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given, caller = headers.get("x-request-id", ""), parse(headers.get("traceparent"))
        request_id = given if _REQUEST_ID.fullmatch(given) else self._new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        watched = _Watched(send, request_id)
        started = self._clock()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if caller is not None:
            structlog.contextvars.bind_contextvars(trace_id=caller.trace_id)
        with self._span(scope, caller) as span:
            scope["state"]["trace"] = span.context or caller or fresh()
            try:
                await self._guarded(scope, receive, watched)
            finally:
                _tell(span, scope, watched.status)
                seconds = self._clock() - started
                self._log(scope, watched, seconds)
                self._tallies.observe(HTTP_DURATION, seconds, _labels(scope, watched.status))

    def _span(self, scope: Scope, caller: TraceContext | None) -> AbstractContextManager[Span]:
        if caller is None and scope["method"] in _LOOKING:
            return nullcontext(NO_SPAN)
        return self._tracer.span(scope["method"], kind="server", parent=caller)

    async def _guarded(self, scope: Scope, receive: Receive, watched: _Watched) -> None:
        try:
            await self._app(scope, receive, watched.send)
        except Exception as error:  # noqa: BLE001 - logged, and answered as a problem
            known = isinstance(error, StorageError)  # tells by itself what happened
            _LOG.error("request_failed", error=repr(error), exc_info=not known)
            if watched.status is None:
                await answer(Request(scope), refusal_of(error))(scope, receive, watched.send)
            # Else the server sees an answer without an end and closes the connection, so that
            # the client does not take half of it for all.

    @staticmethod
    def _log(scope: Scope, watched: _Watched, seconds: float) -> None:
        log = _LOG.debug if scope["path"] in _POLLED else _LOG.info
        log(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=watched.status,
            bytes=watched.size,
            seconds=round(seconds, 4),
            client=scope["client"][0] if scope.get("client") else None,
            **_video_of(scope["path"]),
        )


def _labels(scope: Scope, status: int | None) -> Labels:
    """Method, route and class of status, of which there are few whatever strangers ask for."""
    route = getattr(scope.get("route"), "path", "other")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    return method, route, "none" if status is None else f"{status // 100}xx"


def _video_of(path: str) -> dict[str, str]:
    """The video that a path is about, so that its log finds the request."""
    found = _VIDEO.match(path)
    return {"video_id": found[1]} if found and is_video_id(found[1]) else {}


def _tell(span: Span, scope: Scope, status: int | None) -> None:
    """What the request turned out to be."""
    if span.context is None:
        return
    method, route = scope["method"], getattr(scope.get("route"), "path", None)
    span.rename(f"{method} {route}" if route else method)
    facts = {
        "http.request.method": method,
        "http.route": route,
        "url.path": scope["path"],
        "http.response.status_code": status,
        "request_id": scope["state"]["request_id"],
    }
    span.tell(facts)
    if status is None or status >= _SERVER_ERROR:
        span.fail(f"answered {status}" if status else "not answered")
