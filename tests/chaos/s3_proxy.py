"""A reverse proxy in front of S3 that fails on command.

Requests pass unchanged, the Host header included: clients sign for the proxy's own address, and
SeaweedFS checks the signature against the header that it is sent. Bodies stream. ::

    with S3Proxy(("127.0.0.1", 8333)) as proxy:   # proxy.endpoint, proxy.port
        rule = proxy.fail(SLOW_DOWN, key="/parts/", operation="PutObject", times=3)
        ...
        rule.done                # how often it struck; proxy.done counts by the fault's name
        proxy.heal()             # take every rule back
        proxy.refuse()           # no connection any more, the open ones cut
        proxy.accept()           # at the same port again

What a rule looks at is a :class:`Request` (:mod:`tests.chaos.s3_request`). ``match`` narrows it
down further; of those that match, ``after`` pass first, then every ``every``-th fails, at most
``times`` of them. The first rule that strikes has the request. :attr:`S3Proxy.log` lists them all.
"""

from __future__ import annotations

import random
import re
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, Self

from tests.chaos.s3_request import Request, read_request

#: Bytes moved at once, and seconds after which an upstream that says nothing is given up.
_BLOCK: Final = 64 * 1024
_SILENCE: Final = 180.0
#: Of one connection alone.
_HOP_BY_HOP: Final = frozenset({"connection", "expect", "keep-alive", "proxy-connection"})


class Fault(Enum):
    """What is done to a request."""

    #: 503 SlowDown in place of the work.
    SLOW_DOWN = "503"
    #: 500 InternalError in place of the work.
    INTERNAL = "500"
    #: 409 ConditionalRequestConflict in place of the work.
    CONFLICT = "409"
    #: 501 NotImplemented in place of the work.
    UNKNOWN = "501"
    #: 403 AccessDenied in place of the work.
    DENIED = "403"
    #: The work is done, and the connection dropped without an answer.
    LOST = "lost"
    #: The connection is dropped before the work.
    DROPPED = "dropped"
    #: Half of the answer's body comes, and then the end of the connection.
    CUT = "cut"
    #: The work is begun only after ``Rule.seconds``.
    STALL = "stall"
    #: Half of the request's body is passed on, and the rest once the rule is taken back.
    HALFWAY = "halfway"
    #: The work is done, and its answer comes once the rule is taken back.
    UNHEARD = "unheard"


SLOW_DOWN, INTERNAL, CONFLICT = Fault.SLOW_DOWN, Fault.INTERNAL, Fault.CONFLICT
LOST, DROPPED, CUT, STALL = Fault.LOST, Fault.DROPPED, Fault.CUT, Fault.STALL
HALFWAY, UNHEARD = Fault.HALFWAY, Fault.UNHEARD

_ANSWERS: Final[Mapping[Fault, tuple[int, str]]] = {
    SLOW_DOWN: (503, "SlowDown"),
    INTERNAL: (500, "InternalError"),
    CONFLICT: (409, "ConditionalRequestConflict"),
    Fault.UNKNOWN: (501, "NotImplemented"),
    Fault.DENIED: (403, "AccessDenied"),
}


@dataclass(slots=True)
class Rule:
    """A fault and whom it meets. Made by :meth:`S3Proxy.fail`."""

    fault: Fault
    operations: frozenset[str]
    key: re.Pattern[str]
    match: Callable[[Request], bool]
    share: float
    every: int
    after: int
    times: int | None
    #: Of a stall.
    seconds: float
    #: Requests that matched, and those that were failed.
    seen: int = 0
    done: int = 0
    #: Set when the rule is taken back.
    over: threading.Event = field(default_factory=threading.Event)

    def strikes(self, request: Request, chance: Callable[[], float]) -> bool:
        """Whether this request is one to fail; counts it. The caller holds the proxy's lock."""
        if self.operations and request.operation not in self.operations:
            return False
        if not self.key.search(request.key) or not self.match(request):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.done >= self.times):
            return False
        if (self.seen - self.after - 1) % self.every or chance() >= self.share:
            return False
        self.done += 1
        return True


@dataclass(frozen=True, slots=True)
class Passed:
    """A request that was answered, or met its fault. ``status`` 0 is no answer."""

    operation: str
    key: str
    status: int
    fault: Fault | None
    #: Bytes of the request's body.
    size: int
    #: ``time.monotonic()`` at its end.
    at: float = field(default_factory=time.monotonic)


class S3Proxy:
    """The proxy; runs in threads of this process. ``start``, ``stop``, or ``with``."""

    def __init__(self, upstream: tuple[str, int], port: int = 0, *, seed: int = 0) -> None:
        self.upstream = upstream
        self.port = port
        self.done: Counter[str] = Counter()
        self.log: list[Passed] = []
        self._rules: list[Rule] = []
        self._chance = random.Random(seed).random
        self._lock = threading.Lock()
        self._server: _Server | None = None

    @property
    def endpoint(self) -> str:
        """What to give clients as the address of S3."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; at the same port as before, if there was one."""
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Cut every connection and listen no more. May be called again."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut_all()

    refuse = stop
    accept = start

    def fail(
        self,
        fault: Fault,
        *,
        operation: str | tuple[str, ...] = (),
        key: str = "",
        match: Callable[[Request], bool] = lambda _: True,
        share: float = 1.0,
        every: int = 1,
        after: int = 0,
        times: int | None = None,
        seconds: float = 0.0,
    ) -> Rule:
        """Fail requests from now on. ``key`` is a regular expression to search the key for."""
        names = frozenset((operation,) if isinstance(operation, str) else operation)
        rule = Rule(fault, names, re.compile(key), match, share, every, after, times, seconds)
        with self._lock:
            self._rules.append(rule)
        return rule

    def heal(self, *rules: Rule) -> None:
        """Take these rules back, or all of them."""
        with self._lock:
            healed = [each for each in self._rules if not rules or each in rules]
            self._rules = [each for each in self._rules if each not in healed]
        for rule in healed:
            rule.over.set()

    @contextmanager
    def failing(self, fault: Fault, **options: Any) -> Iterator[Rule]:
        """:meth:`fail` for as long as the block."""
        rule = self.fail(fault, **options)
        try:
            yield rule
        finally:
            self.heal(rule)

    def written(self, pattern: str = "") -> dict[str, tuple[int, int]]:
        """By key: how often an object was written in one piece, and how many bytes in all."""
        found: dict[str, tuple[int, int]] = {}
        for each in tuple(self.log):
            stored = each.status == 200 or each.fault is LOST
            if stored and each.operation == "PutObject" and re.search(pattern, each.key):
                times, size = found.get(each.key, (0, 0))
                found[each.key] = times + 1, size + each.size
        return found

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def rule_for(self, request: Request) -> Rule | None:
        """The rule that strikes the request, counted."""
        with self._lock:
            for rule in self._rules:
                if rule.strikes(request, self._chance):
                    self.done[rule.fault.value] += 1
                    return rule
        return None


class _Server(ThreadingMixIn, TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, proxy: S3Proxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", proxy.port), _Handler)

    def opened(self, connection: socket.socket) -> None:
        with self._guard:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._guard:
            self._open.discard(connection)

    def cut_all(self) -> None:
        with self._guard:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A broken connection is nothing to talk about."""


class _DropError(Exception):
    """The connection ends here, without another word."""


class _Handler(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = _BLOCK
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Nothing: :attr:`S3Proxy.log` has it."""

    def pass_on(self) -> None:
        request = read_request(self.command, self.path, self.headers.items())
        rule = self.server.proxy.rule_for(request)
        fault = rule.fault if rule else None
        size = int(self.headers.get("content-length", 0))
        status = 0
        try:
            if rule is not None and fault is STALL:
                time.sleep(rule.seconds)
            status = self._refuse(*_ANSWERS[fault]) if fault in _ANSWERS else self._relay(rule)
        except (_DropError, OSError, HTTPException):
            self.close_connection = True
        finally:
            passed = Passed(request.operation, request.key, status, fault, size)
            self.server.proxy.log.append(passed)

    def _refuse(self, status: int, code: str) -> int:
        for _ in self._body(self._size):
            pass
        text = f"<Error><Code>{code}</Code><Message>on command</Message></Error>"
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self._end_head()
        if self.command != "HEAD":
            self.wfile.write(text.encode())
        return status

    def _relay(self, rule: Rule | None) -> int:
        fault = rule.fault if rule else None
        if fault is DROPPED:
            raise _DropError
        upstream = HTTPConnection(*self.server.proxy.upstream, timeout=_SILENCE)
        try:
            self._send_to(upstream, rule)
            answer = upstream.getresponse()
            if rule is not None and fault is UNHEARD:
                self._hold(rule)
            if fault is LOST:
                answer.read()
                raise _DropError
            self._answer(answer, cut=fault is CUT)
            return answer.status
        finally:
            upstream.close()

    def _hold(self, rule: Rule) -> None:
        """Wait until the rule is taken back; a client that dies first takes its request along."""
        gone = select.poll()
        gone.register(self.connection, select.POLLRDHUP)
        while not rule.over.wait(0.02):
            if gone.poll(0):
                raise _DropError

    def _send_to(self, upstream: HTTPConnection, rule: Rule | None) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                upstream.putheader(name, value)
        upstream.putheader("Connection", "close")
        upstream.endheaders()
        size = self._size
        if rule is not None and rule.fault is HALFWAY:
            for block in self._body(size // 2):
                upstream.send(block)
            self._hold(rule)
            size -= size // 2
        for block in self._body(size):
            upstream.send(block)

    @property
    def _size(self) -> int:
        return int(self.headers.get("content-length", 0))

    def _body(self, left: int) -> Iterator[bytes]:
        """So many bytes of the body as they come; the base class answered ``Expect``."""
        while left:
            block = self.rfile.read1(min(left, _BLOCK))  # type: ignore[attr-defined]
            if not block:
                raise _DropError
            left -= len(block)
            yield block

    def _answer(self, answer: HTTPResponse, *, cut: bool) -> None:
        length = answer.getheader("content-length")
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP | {"transfer-encoding"}:
                self.send_header(name, value)
        bodiless = self.command == "HEAD" or answer.status in (204, 304)
        if length is None and not bodiless:  # its end is that of the connection
            self.close_connection = True
        self._end_head()
        if not bodiless:
            whole = None if length is None else int(length)
            self._copy(answer, whole, (whole or 0) // 2 if cut else whole)

    def _end_head(self) -> None:
        """ffmpeg asks for the end of the connection, and uses it again unless it is told so."""
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _copy(self, answer: HTTPResponse, whole: int | None, limit: int | None) -> None:
        passed = 0
        while limit is None or passed < limit:
            block = answer.read1(_BLOCK if limit is None else min(_BLOCK, limit - passed))
            if not block:
                break
            self._write(block)
            passed += len(block)
        if whole is not None and passed < whole:
            raise _DropError

    def _write(self, block: bytes) -> None:
        """Wait for a slow reader, and notice one that is gone."""
        select.select([], [self.connection], [], _SILENCE)
        self.wfile.write(block)


for _method in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"):
    setattr(_Handler, f"do_{_method}", _Handler.pass_on)
