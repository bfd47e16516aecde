"""The outermost layer: a request id, one log line a request, and a clean end of every one."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.answers import answer, refusal_of
from storage.errors import StorageError

_LOG = structlog.get_logger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Polled every few seconds by machines; logged at ``debug``.
_POLLED: Final = ("/healthz", "/readyz")


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
    ) -> None:
        self._app = app
        self._clock = clock
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else self._new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        watched = _Watched(send, request_id)
        started = self._clock()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._guarded(scope, receive, watched)
        finally:
            self._log(scope, watched, self._clock() - started)

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
        )
