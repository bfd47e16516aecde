"""How the application is served: uvicorn, with limits on what comes before and after a request.

httptools keeps a header in memory until it ends, however long it gets; uvicorn waits for a first
request for ever, and for the rest of a body that was refused. No application sees any of these.
"""

from __future__ import annotations

from asyncio import BaseTransport, TimerHandle, Transport
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Bytes of a request line and headers; checked whenever bytes arrive, so a read may be over it.
MAX_HEAD: Final = 32 * 1024
#: Seconds for a request's head to arrive, counted from the connection or the first byte.
HEAD_TIMEOUT: Final = 20.0
#: Seconds in which the rest of a refused body is read and dropped, so that the client sees why.
LINGER: Final = 30.0
#: Seconds that requests under way are given when the server is told to stop.
GRACE: Final = 10

_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/problem+json\r\ncontent-length: 121\r\nconnection: close\r\n\r\n"
)
_TOO_LONG_BODY: Final = (
    b'{"type":"urn:reelfarm:problem:header_too_large","title":"The header is too large",'
    b'"status":431,"code":"header_too_large"}'
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _in_head = False
    _head_bytes = 0
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Give the first request its time."""
        super().connection_made(cast("Transport", transport))
        self._close_in(HEAD_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._keep_open()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hang up on a head without end."""
        was_in_head = self._in_head
        super().data_received(data)
        self._head_bytes += len(data) if was_in_head else 0
        if self._in_head and self._head_bytes > MAX_HEAD and not self.transport.is_closing():
            self.transport.write(_TOO_LONG + _TOO_LONG_BODY)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._close_in(HEAD_TIMEOUT)

    def on_headers_complete(self) -> None:
        """A head ends."""
        self._in_head = False
        self._keep_open()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """An answer that came before the body's end leaves the client a while to notice."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._close_in(LINGER)

    def on_message_complete(self) -> None:
        """The rest of a refused body has passed: what follows is the next request."""
        super().on_message_complete()
        if self.cycle.response_complete:
            self.cycle.more_body = False
            self._close_in(self.timeout_keep_alive)

    def _close_in(self, seconds: float) -> None:
        self._keep_open()
        self._deadline = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _keep_open(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def server_config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    """How to serve ``app``. Its access log is the application's own, its errors are logged."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        interface="asgi3",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
