"""A small HTTP server with ranges that can misbehave as storage and networks do."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_CHUNK = 64 * 1024


@dataclass
class Behaviour:
    """What the server does wrong, and what it has seen. Change it while it runs."""

    #: Absolute offset in the file at which the connection is closed; None for never.
    cut_at: int | None = None
    #: How often it cuts; afterwards it behaves.
    cuts: int = 1_000_000
    #: Offset at which it stops sending and keeps the connection open until ``released`` is set.
    hang_at: int | None = None
    #: Answer with this status instead of the file.
    status: int | None = None
    #: Answer with a redirect to this address.
    redirect: str | None = None
    requests: list[str] = field(default_factory=list)
    sent: int = 0
    released: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    behaviour: Behaviour

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay silent."""

    def do_GET(self) -> None:
        self.behaviour.requests.append(f"{self.path} {self.headers.get('Range', '')}")
        self.close_connection = True
        if self.behaviour.redirect is not None:
            self._answer(302, 0, Location=self.behaviour.redirect)
        elif self.behaviour.status is not None:
            self._answer(self.behaviour.status, 0)
        else:
            self._send_file(self.root / self.path.split("?")[0].lstrip("/"))

    def _answer(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.send_header("Accept-Ranges", "bytes")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _send_file(self, path: Path) -> None:
        if not path.is_file():
            return self._answer(404, 0)
        size = path.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        end = min(int(wanted[2]), size - 1) if wanted and wanted[2] else size - 1
        if start >= size:
            return self._answer(416, 0, Content_Range=f"bytes */{size}")
        if wanted:
            self._answer(206, end - start + 1, Content_Range=f"bytes {start}-{end}/{size}")
        else:
            self._answer(200, size)
        return self._send_bytes(path, start, end + 1)

    def _send_bytes(self, path: Path, start: int, end: int) -> None:
        behaviour = self.behaviour
        with path.open("rb") as file:
            file.seek(start)
            while start < end:
                limit = self._limit(start, end)
                if limit == start:
                    return
                data = file.read(min(_CHUNK, limit - start))
                try:
                    self.wfile.write(data)
                except OSError:
                    return
                behaviour.sent += len(data)
                start += len(data)

    def _limit(self, start: int, end: int) -> int:
        behaviour = self.behaviour
        if behaviour.hang_at is not None and start >= behaviour.hang_at:
            behaviour.released.wait()
            return start
        if behaviour.cut_at is not None and start >= behaviour.cut_at and behaviour.cuts > 0:
            behaviour.cuts -= 1
            return start
        stops = [end, *(stop for stop in (behaviour.cut_at, behaviour.hang_at) if stop is not None)]
        return min(stop for stop in stops if stop > start)


@dataclass(frozen=True)
class RangeServer:
    """Where the server listens and how it behaves."""

    address: str
    behaviour: Behaviour

    def url(self, path: str, query: str = "X-Amz-Signature=s3cr3t&X-Amz-Expires=60") -> str:
        """The presigned-looking address of a file below the server's root."""
        return f"{self.address}/{path}?{query}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these tests do."""


@contextmanager
def serve(root: Path) -> Iterator[RangeServer]:
    """Serve the files below ``root`` on a free loopback port."""
    behaviour = Behaviour()
    handler = type("Handler", (_Handler,), {"root": root, "behaviour": behaviour})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield RangeServer(f"http://127.0.0.1:{server.server_address[1]}", behaviour)
    finally:
        behaviour.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
