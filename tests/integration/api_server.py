"""The API as it is served, by a real uvicorn on a port of its own and with a real storage.

As a program (``python -m tests.integration.api_server ENDPOINT SECRET PREFIX``) it serves in a
process of its own and prints its port, so that its memory can be looked at.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from catalog.videos import Catalog
from ingest.app import create_app
from ingest.config import IngestConfig, IngestDeps
from ingest.server import server_config
from jobs.records import VideoRecord
from storage import layout
from storage.client import S3Config
from storage.objects import ObjectStore, connect


@dataclass
class Ports:
    """What the API is given, and what it did with it."""

    handed: list[VideoRecord] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    live: dict[str, float] = field(default_factory=dict)
    checks: dict[str, str | None] = field(default_factory=lambda: {"storage": None})
    fail: Exception | None = None

    def hand_off(self, record: VideoRecord) -> None:
        self._act()
        self.handed.append(record)

    def stop(self, video_id: str) -> None:
        self._act()
        self.stopped.append(video_id)

    def progress(self, video_id: str) -> Mapping[str, float]:
        self._act()
        return self.live

    def ready(self) -> Mapping[str, str | None]:
        self._act()
        return self.checks

    def _act(self) -> None:
        if self.fail is not None:
            raise self.fail


class ApiServer:
    """A running API."""

    def __init__(self, store: ObjectStore, config: IngestConfig | None = None) -> None:
        self.store = store
        self.catalog = Catalog(store)
        self.ports = Ports()
        self.deps = IngestDeps(
            catalog=self.catalog,
            store=store,
            config=config or IngestConfig(),
            hand_off=self.ports.hand_off,
            progress=self.ports.progress,
            stop=self.ports.stop,
            ready=self.ports.ready,
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        #: What the application logged.
        self.logs: list[MutableMapping[str, Any]] = []
        self._capture = ExitStack()
        #: Requests that the application is done with.
        self.ended = 0
        self._app: FastAPI = create_app(self.deps)
        self._server = _Server(server_config(self._counted, "127.0.0.1", self.port))
        self._thread = Thread(target=self._server.run, args=([self._socket],), name="api")
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False)

    def __enter__(self) -> Self:
        self.logs = self._capture.enter_context(capture_logs())
        self._thread.start()
        assert self._server.up.wait(20)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
        self._capture.close()
        assert not self._thread.is_alive()

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            self.ended += 1

    def use(self, deps: IngestDeps) -> None:
        """Serve with other ports; to be called before it starts."""
        self.deps = deps
        self._app = create_app(deps)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def leftovers(self) -> list[str]:
        """Every object and open upload below the prefix."""
        uploads = [f"open upload of {upload.key}" for upload in self.store.uploads("")]
        return uploads + [info.key for info in self.store.list("")]

    def source(self, video_id: str) -> bytes:
        """What was stored of an upload."""
        with self.store.open(layout.source(video_id)) as stream:
            return b"".join(stream.iter_chunks())


def eventually(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it comes to hold in time."""
    deadline = time.monotonic() + seconds
    while not (found := holds()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer on a bare connection."""
    reader = connection.makefile("rb")
    status = int(reader.readline().split()[1])
    headers = {}
    while line := reader.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, reader.read(int(headers.get("content-length", "0")))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


def main(endpoint: str, secret: str, prefix: str) -> None:
    """Serve until standard input ends."""
    store = connect(S3Config(endpoint, "us-east-1", "reelfarm", prefix, "reelfarm", secret))
    with ApiServer(store) as api:
        print(api.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
