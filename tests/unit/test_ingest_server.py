"""A connection's limits, with bytes handed to the protocol as a transport would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from ingest import server
from ingest.server import HEAD_TIMEOUT, LINGER, MAX_HEAD, BoundedProtocol, server_config

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers without reading the body."""
    await send({"type": "http.response.start", "status": 413, "headers": []})
    await send({"type": "http.response.body", "body": b"no"})


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[BoundedProtocol, Wire]]:
    config = server_config(refuse, "127.0.0.1", 0)
    config.load()
    protocol, wire = BoundedProtocol(config, ServerState(), {}), Wire()
    protocol.connection_made(wire)
    yield protocol, wire
    protocol.connection_lost(None)
    assert remaining(protocol) is None


def remaining(protocol: BoundedProtocol) -> float | None:
    """Seconds until the connection is closed, if nothing more comes."""
    deadline = protocol._deadline
    return None if deadline is None else deadline.when() - asyncio.get_running_loop().time()


def run(test: Callable[[BoundedProtocol, Wire], Awaitable[None]]) -> None:
    async def main() -> None:
        async with connection() as (protocol, wire):
            await test(protocol, wire)

    asyncio.run(main())


def test_a_long_head_is_refused() -> None:
    async def test(protocol: BoundedProtocol, wire: Wire) -> None:
        protocol.data_received(HEAD + b"X-Long: ")
        protocol.data_received(b"x" * MAX_HEAD)
        assert not wire.closed
        protocol.data_received(b"x")
        assert wire.closed
        head, _, body = wire.sent.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 ")
        assert f"content-length: {len(body)}".encode() in head
        assert json.loads(body)["code"] == "header_too_large"

    run(test)


def test_a_long_body_is_no_long_head() -> None:
    async def test(protocol: BoundedProtocol, wire: Wire) -> None:
        protocol.data_received(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n")
        protocol.data_received(b"\r\n" + bytes(400_000))
        protocol.data_received(bytes(400_000))
        assert not wire.closed

    run(test)


def test_every_head_has_its_time() -> None:
    async def test(protocol: BoundedProtocol, wire: Wire) -> None:
        assert remaining(protocol) == pytest.approx(HEAD_TIMEOUT, abs=1)
        protocol.data_received(HEAD)
        assert remaining(protocol) == pytest.approx(HEAD_TIMEOUT, abs=1)
        protocol.data_received(b"\r\n")
        assert remaining(protocol) is None

    run(test)


def test_too_late_a_head_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT", 0.01)

    async def test(protocol: BoundedProtocol, wire: Wire) -> None:
        protocol.data_received(HEAD)
        await asyncio.sleep(0.1)
        assert wire.closed

    run(test)


def test_a_refused_body_may_end_and_the_next_request_come() -> None:
    async def test(protocol: BoundedProtocol, wire: Wire) -> None:
        protocol.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n12")
        await asyncio.gather(*protocol.tasks)
        assert wire.sent.startswith(b"HTTP/1.1 413 ")
        assert remaining(protocol) == pytest.approx(LINGER, abs=1)
        protocol.data_received(b"34")
        assert remaining(protocol) == pytest.approx(protocol.timeout_keep_alive, abs=1)
        protocol.data_received(HEAD + b"\r\n")
        await asyncio.gather(*protocol.tasks)
        assert wire.sent.count(b"HTTP/1.1 413 ") == 2
        assert not wire.closed

    run(test)
