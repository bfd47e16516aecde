"""The bytes of one source, from this host's disk where they are there, else from storage.

What is asked of storage grows with what is read on: a probe that jumps about costs little, a part
that reads minutes of film few requests. Over a slow link it shrinks again, for ffmpeg waits for the
first byte until the last one of a request is there, and not for long. An answer that breaks off is
taken up where it broke off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import BinaryIO, Final, NamedTuple

from pipeline.blocks import BLOCK, SPAN, BlockCache, Shelf
from storage import layout
from storage.errors import ChangedError, UnavailableError
from storage.objects import ObjectInfo, ObjectStore

#: Answers in a row that may break off without a byte before the storage counts as away.
_BREAKS: Final = 3
#: Seconds for one request, beyond which less is asked for with the next.
_SLOW: Final = 2.0


class FilePiece(NamedTuple):
    """Bytes in a file that is open until the next piece is asked for."""

    descriptor: int
    offset: int
    length: int


#: A few bytes of a source.
Piece = FilePiece | memoryview


class Original:
    """One version of the source of a video: the one that is there when it is first asked for."""

    def __init__(
        self,
        store: ObjectStore,
        video_id: str,
        cache: BlockCache | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._video_id = video_id
        self._key = layout.source(video_id)
        self._cache = cache
        self._clock = clock
        self._lock = Lock()
        self._info: ObjectInfo | None = None
        self._counting = Lock()
        #: Threads that have asked the storage and have no answer yet.
        self.waiting = 0
        #: The trouble with storage, until it answers again.
        self.failure: Exception | None = None

    def size(self) -> int:
        """Bytes. Raises :class:`StorageError`."""
        return self._known().size

    def pieces(self, first: int, end: int) -> Iterator[Piece]:
        """The bytes from ``first`` up to ``end``, in order. Raises :class:`StorageError`."""
        shelf, at, reach = self._shelf(), first, 1
        while at < end:
            number = at // BLOCK
            begin, asked = number * BLOCK, self._clock()
            found = self._kept(shelf, number) or self._fetch(shelf, number, reach)
            if isinstance(found, bytearray):
                stop = min(begin + len(found), end)
                slow = self._clock() - asked >= _SLOW
                reach = max(reach // 2, 1) if slow else min(2 * reach, SPAN)
                yield memoryview(found)[at - begin : stop - begin]
            else:
                with found:
                    stop = min(begin + BLOCK, end)
                    yield FilePiece(found.fileno(), at - begin, stop - at)
            at = stop

    @staticmethod
    def _kept(shelf: Shelf | None, number: int) -> BinaryIO | None:
        return None if shelf is None else shelf.open(number)

    def _known(self) -> ObjectInfo:
        with self._lock:
            if self._info is None:
                with self._asking():
                    self._info = self._store.head(self._key)
            return self._info

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._counting:
            self.waiting += 1
        try:
            yield
            self.failure = None
        except Exception as error:
            self.failure = error
            raise
        finally:
            with self._counting:
                self.waiting -= 1

    def _shelf(self) -> Shelf | None:
        info, store = self._known(), self._store
        if self._cache is None:
            return None
        address = f"{store.bucket}/{store.prefix}{self._key}"
        return self._cache.shelf(self._video_id, address, info.etag, info.size)

    def _fetch(self, shelf: Shelf | None, number: int, most: int) -> bytearray | BinaryIO:
        """Blocks from ``number`` on, and keep them; the file of one if somebody was quicker."""
        if shelf is None:
            return self._read(number, most)
        with shelf.turn(number):
            if (kept := shelf.open(number)) is not None:
                return kept
            fetched = self._read(number, max(1, shelf.missing(number, most)))
            for offset in range(0, len(fetched), BLOCK):
                block = memoryview(fetched)[offset : offset + BLOCK]
                if not shelf.store(number + offset // BLOCK, block):
                    break
            return fetched

    def _read(self, number: int, count: int) -> bytearray:
        """Raises :class:`StorageError`."""
        at, end = number * BLOCK, min((number + count) * BLOCK, self.size())
        found, breaks = bytearray(), 0
        with self._asking():
            while at + len(found) < end:
                before = len(found)
                broken = self._read_on(found, at + before, end)
                breaks = breaks + 1 if len(found) == before else 0
                if broken is not None and breaks >= _BREAKS:
                    raise broken
        return found

    def _read_on(self, found: bytearray, first: int, end: int) -> UnavailableError | None:
        """Add what one answer brings; why that was not all. The client has its own tries to ask."""
        info = self._known()
        with self._store.open(self._key, first, end - 1, etag=info.etag) as stream:
            if stream.etag != info.etag or stream.size != end - first:
                detail = f"{stream.size} bytes of {stream.etag}, not {end - first} of {info.etag}."
                raise ChangedError("GetObject", self._store.bucket, self._key, "Other", detail)
            try:
                for data in stream.iter_chunks():
                    found += data
            except UnavailableError as error:
                return error
        return None
