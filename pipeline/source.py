"""Sources for ffmpeg, on this host's loopback: one address for one run, and nothing else behind it.

So ffmpeg needs no way to the storage, no key of it and no TLS, and opens at once what this host
has read before (:mod:`pipeline.blocks`). What goes wrong in storage reaches ffmpeg as it would from
there, as a status or a connection that ends too soon: :mod:`media.diagnosis` has to know no other
kind of trouble. An address is good for as long as it is lent, and cannot be guessed.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_urlsafe
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Final

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars

from media.errors import (
    DeadlineExceededError,
    Evidence,
    NotStartedError,
    SourceUnreadableError,
    StalledError,
)
from pipeline.blocks import BlockCache
from pipeline.original import Original, Piece
from storage.errors import (
    BucketMissingError,
    ChangedError,
    DeniedError,
    NotFoundError,
    StorageError,
)
from storage.objects import ObjectStore

_LOG = structlog.get_logger(__name__)

_LOOPBACK: Final = "127.0.0.1"
#: Bytes of a request; ffmpeg's take three hundred.
_LONGEST: Final = 8192
#: Connections at once, of all runs and of one: ffmpeg opens one or two, the probe a few.
_ROOM: Final = 64
_ROOM_FOR_ONE: Final = 16
#: Seconds for the whole of a request to come, and between two looks for blocks that have aged.
_HURRY: Final = 10.0
_SWEEP: Final = 60.0
_PAUSE: Final = 0.1
_MOMENT: Final = 0.001

_REQUEST: Final = re.compile(rb"(GET|HEAD) /source\?([\w-]+) HTTP/1\.[01]\r\n")
_RANGE: Final = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*) *\r\n", re.IGNORECASE)

_REASONS: Final = {
    200: "OK", 206: "Partial Content", 400: "Bad Request", 403: "Forbidden", 404: "Not Found",
    412: "Precondition Failed", 416: "Range Not Satisfiable", 503: "Service Unavailable",
}  # fmt: skip
_STATUS: Final[tuple[tuple[type[StorageError], int], ...]] = (
    (NotFoundError, 404),
    (BucketMissingError, 404),
    (DeniedError, 403),
    (ChangedError, 412),
)


class SourceReader:
    """Lends addresses of sources. It listens once the first is lent, until ``close``."""

    def __init__(self, store: ObjectStore, cache: BlockCache | None = None) -> None:
        self._store = store
        self._cache = cache
        self._lent: dict[str, _Loan] = {}
        self._lock = Lock()
        self._listener: socket.socket | None = None
        self._closed = Event()
        self._room = BoundedSemaphore(_ROOM)

    def watch(self) -> None:
        """Remove blocks that have aged, at once and from time to time until ``close``."""
        if self._cache is not None:
            Thread(target=self._sweep, args=(self._cache,), name="blocks", daemon=True).start()

    @contextmanager
    def lend(self, video_id: str) -> Iterator[str]:
        """The address of a video's source, for ffmpeg and ffprobe of this host.

        Nothing is asked of storage before they ask. A :class:`SourceUnreadableError` leaves with
        the trouble in storage as its cause, where there was one; a run that ended for want of
        bytes, which the storage had not sent yet, leaves as such an error. Raises
        :class:`NotStartedError` where this machine has no port, descriptor or thread to give.
        """
        original = Original(self._store, video_id, self._cache)
        token, loan, port = token_urlsafe(24), _Loan(original), self._listening()
        with self._lock:
            self._lent[token] = loan
        try:
            yield f"http://{_LOOPBACK}:{port}/source?{token}"
        except SourceUnreadableError as error:
            if original.failure is None:
                raise
            raise error from original.failure
        except (StalledError, DeadlineExceededError) as error:
            if not original.waiting and original.failure is None:
                raise
            told = "source: the storage did not answer"
            raise SourceUnreadableError(told, error.evidence) from (original.failure or error)
        finally:
            with self._lock:
                del self._lent[token]
            loan.end()

    def forget(self, video_id: str) -> None:
        """Keep nothing of the video on this host's disk."""
        if self._cache is not None:
            self._cache.forget(video_id)

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        with self._lock:
            if self._listener is not None:
                _cut(self._listener)
                self._listener.close()

    def _listening(self) -> int:
        """The port."""
        try:
            with self._lock:
                if self._listener is None:
                    self._listener = self._listen()
                return int(self._listener.getsockname()[1])
        except (OSError, RuntimeError) as error:  # no port, descriptor or thread is left
            told = f"source: this machine cannot serve it ({error})"
            raise NotStartedError(told, Evidence(())) from error

    def _listen(self) -> socket.socket:
        listener = socket.create_server((_LOOPBACK, 0), backlog=64)
        try:
            Thread(target=self._accept, args=(listener,), name="source", daemon=True).start()
        except BaseException:
            listener.close()
            raise
        return listener

    def _sweep(self, cache: BlockCache) -> None:
        cache.sweep()
        while not self._closed.wait(_SWEEP):
            cache.sweep()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = listener.accept()
                self._receive(connection)
            except Exception as error:  # noqa: BLE001 - the next one has to be served
                if not self._closed.wait(_PAUSE):
                    _LOG.warning("source_not_served", error=str(error))

    def _receive(self, connection: socket.socket) -> None:
        """Serve it in a thread of its own, or close it where there are too many."""
        if not self._room.acquire(blocking=False):
            _LOG.warning("source_not_served", error=f"{_ROOM} connections are open")
            return connection.close()
        try:
            Thread(target=self._serve, args=(connection,), name="range", daemon=True).start()
        except BaseException:
            self._room.release()
            connection.close()
            raise

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, suppress(OSError):
                self._reply(connection)
        finally:
            self._room.release()

    def _reply(self, connection: socket.socket) -> None:
        """Answer one request; ffmpeg sends no second one on a connection."""
        asked = _head(connection, time.monotonic() + _HURRY)
        connection.settimeout(None)
        request = _REQUEST.match(asked)
        loan = None if request is None else self._lent.get(request[2].decode())
        if loan is None or request is None:
            connection.sendall(_answer(400 if request is None else 404))
        elif loan.begin(connection):
            bind_contextvars(**loan.about)
            try:
                _respond(connection, loan.original, asked, head_only=request[1] == b"HEAD")
            finally:
                loan.ended(connection)


class _Loan:
    """What one address stands for, and the connections that read from it."""

    def __init__(self, original: Original) -> None:
        self.original = original
        #: What is logged of its reading says of which part it is.
        self.about = get_contextvars()
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        self._over = False

    def begin(self, connection: socket.socket) -> bool:
        """Whether it still holds, and for one more."""
        with self._lock:
            if self._over or len(self._open) >= _ROOM_FOR_ONE:
                return False
            self._open.add(connection)
            return True

    def ended(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def end(self) -> None:
        """Cut what still reads."""
        with self._lock:
            self._over = True
            for connection in self._open:
                _cut(connection)


def _head(connection: socket.socket, until: float) -> bytes:
    """A request. Raises TimeoutError where it has not come until then."""
    asked = b""
    while b"\r\n\r\n" not in asked and len(asked) < _LONGEST:
        connection.settimeout(max(until - time.monotonic(), _MOMENT))
        if not (more := connection.recv(_LONGEST)):
            break
        asked += more
    return asked


def _respond(
    connection: socket.socket, original: Original, asked: bytes, *, head_only: bool
) -> None:
    """Where the storage fails after the status was sent, the connection just ends."""
    begun = False
    try:
        size = original.size()
        ranged, first, end = _wanted(asked, size)
        if ranged and first >= size:
            return connection.sendall(_answer(416, f"Content-Range: bytes */{size}"))
        told = (f"Content-Range: bytes {first}-{end - 1}/{size}",) if ranged else ()
        answer = _answer(206 if ranged else 200, *told, length=end - first)
        for piece in () if head_only else original.pieces(first, end):
            if not begun:
                begun = True
                connection.sendall(answer)
            _send(connection, piece)
        if not begun:
            connection.sendall(answer)
    except Exception as error:  # noqa: BLE001 - whatever it is, ffmpeg is told
        gone = begun and isinstance(error, OSError)  # ffmpeg, as whenever it jumps
        if not gone:
            unforeseen = not isinstance(error, StorageError)
            _LOG.warning("source_not_read", error=str(error), exc_info=unforeseen)
        if not begun:
            connection.sendall(_answer(_status(error)))


def _wanted(asked: bytes, size: int) -> tuple[bool, int, int]:
    """Whether a range is asked for; the first byte and the one after the last."""
    found = _RANGE.search(asked)
    if found is None:
        return False, 0, size
    return True, int(found[1]), min(int(found[2]) + 1, size) if found[2] else size


def _status(error: Exception) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 503)


def _answer(status: int, *headers: str, length: int = 0) -> bytes:
    lines = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        *headers,
        f"Content-Length: {length}",
        "Accept-Ranges: bytes",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _send(connection: socket.socket, piece: Piece) -> None:
    if isinstance(piece, memoryview):
        return connection.sendall(piece)
    offset, left = piece.offset, piece.length
    while left:
        sent = os.sendfile(connection.fileno(), piece.descriptor, offset, left)
        if sent == 0:
            raise OSError("the block has become shorter")
        offset, left = offset + sent, left - sent
    return None


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
