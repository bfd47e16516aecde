"""Counts what goes to S3 and comes from it: a proxy in a process of its own.

Bytes pass unchanged, the Host header included: clients sign for the proxy's own address, and
SeaweedFS checks the signature against the header that it is sent. Only the heads of requests are
looked at, and the lengths of what comes back.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

_BLOCK: Final = 256 * 1024
_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length:\s*(\d+)")

#: What a key is, by the first pattern found in it.
_KINDS: Final = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"^inbox/", "inbox"),
        (r"^index/", "index"),
        (r"^trash/", "trash"),
        (r"^dead-letters/", "dead letters"),
        (r"/source$", "source"),
        (r"/video\.json$", "record"),
        (r"/plan/", "plan"),
        (r"/parts/", "receipts"),
        (r"/published/", "published"),
        (r"\.m4s$", "segment"),
        (r"-init-[^/]*\.mp4$", "init segment"),
        (r"\.(m3u8|mpd)$", "playlist"),
        (r"/play/.*\.(jpg|vtt|json)$", "pictures"),
    )
)

#: Calls on the bucket, and those with a marker in their query.
_MARKED: Final = (
    ("uploadId=", {"PUT": "UploadPart", "POST": "CompleteUpload", "DELETE": "AbortUpload"}),
    ("uploads", {"POST": "CreateUpload", "GET": "ListUploads"}),
    ("delete", {"POST": "DeleteObjects"}),
    ("list-type=", {"GET": "ListObjects"}),
)
_PLAIN: Final = {"GET": "GetObject", "HEAD": "HeadObject", "PUT": "PutObject"}


def named(method: str, target: str) -> str:
    """``operation of-what``: of ``GET /bucket/videos/x/source?…``, ``GetObject source``."""
    path, _, query = target.partition("?")
    _, _, key = path.lstrip("/").partition("/")
    operation = _PLAIN.get(method, method)
    for marker, operations in _MARKED:
        if marker in query and method in operations:
            operation = operations[method]
            break
    listed = re.search(r"(?:^|&)prefix=([^&]*)", query)
    shown = listed[1].replace("%2F", "/") if listed else key
    kind = next((kind for pattern, kind in _KINDS if pattern.search(shown)), "other")
    return f"{operation} {kind}"


@dataclass(slots=True)
class Tally:
    """How many requests there were, and bytes of bodies either way, by :func:`named`."""

    requests: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)

    def __sub__(self, earlier: Tally) -> Tally:
        return Tally(
            self.requests - earlier.requests,
            self.sent - earlier.sent,
            self.received - earlier.received,
        )


@dataclass(slots=True)
class Requests:
    """One connection's way to the server; ``feed`` it all bytes. No pipelining, no chunking."""

    tally: Tally
    name: str = ""
    #: Requests so far: the way back begins a new answer with each.
    count: int = 0
    _head: bytes = b""
    _left: int = 0

    def feed(self, data: bytes) -> None:
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                self.tally.sent[self.name] += taken
                data = data[taken:]
            else:
                data = self._feed_head(data)

    def _feed_head(self, data: bytes) -> bytes:
        head, end, rest = (self._head + data).partition(_END)
        if not end:
            self._head = head
            return b""
        self._head = b""
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        length = _LENGTH.search(head)
        self._left = int(length[1]) if length else 0
        self.name, self.count = named(method, target), self.count + 1
        self.tally.requests[self.name] += 1
        return rest


@dataclass(slots=True)
class Answers:
    """The way back of the same connection: heads are skipped, bodies counted."""

    requests: Requests
    _answered: int = 0
    _head: bytes = b""
    _in_body: bool = False

    def feed(self, data: bytes) -> None:
        if self._answered != self.requests.count:
            self._answered, self._in_body, self._head = self.requests.count, False, b""
        while data and not self._in_body:
            head, end, rest = (self._head + data).partition(_END)
            if not end:
                self._head = head
                return
            self._head, data = b"", rest
            self._in_body = not head.split(b" ", 2)[1].startswith(b"1")
        self.requests.tally.received[self.requests.name] += len(data)


@dataclass(frozen=True, slots=True)
class Counting:
    """A proxy that runs. ``endpoint`` is what to give clients as the address of S3."""

    endpoint: str
    process: subprocess.Popen[str]

    def tally(self) -> Tally:
        """What there was so far."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("tally\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        return Tally(*(Counter(found[name]) for name in ("requests", "sent", "received")))


@contextmanager
def counting(upstream: str) -> Iterator[Counting]:
    """A proxy in front of the S3 at ``upstream``, such as ``http://127.0.0.1:8333``."""
    argv = (sys.executable, "-P", "-m", "benchmarks.s3_counter", upstream)
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            assert process.stdout is not None
            yield Counting(f"http://127.0.0.1:{int(process.stdout.readline())}", process)
        finally:
            process.terminate()


async def _serve(host: str, port: int) -> None:
    tally = Tally()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        requests = Requests(tally)
        answers = Answers(requests)
        await asyncio.gather(
            _pump(reader, forth, requests), _pump(back, writer, answers), return_exceptions=True
        )

    server = await asyncio.start_server(meet, "127.0.0.1", 0, limit=_BLOCK)
    say = threading.Thread(target=_say, args=(server.sockets[0].getsockname()[1], tally))
    say.daemon = True
    say.start()
    async with server:
        await server.serve_forever()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, meter: Requests | Answers
) -> None:
    with suppress(OSError):
        while data := await reader.read(_BLOCK):
            meter.feed(data)
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()


def _say(port: int, tally: Tally) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        found = {"requests": tally.requests, "sent": tally.sent, "received": tally.received}
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    address = sys.argv[1].removeprefix("http://")
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(address.partition(":")[0], int(address.partition(":")[2])))
