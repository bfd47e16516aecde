"""One upload, from the first byte to the acknowledgement, in an order that may be cut off anywhere.

Inbox entry → bytes → record → (answer) → message. Whatever ends it early, nothing is left behind
but, at worst, an entry that expires and is swept.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from anyio import CancelScope

from catalog.errors import CatalogError, UploadExpiredError
from ingest.config import IngestDeps
from ingest.intake import Intake
from ingest.problems import BUSY, EMPTY_UPLOAD, RefusedError
from ingest.sink import store_parts
from ingest.streams import chained, part_size, regroup
from ingest.threads import blocking
from jobs.records import VideoRecord
from jobs.states import State
from jobs.traceparent import TraceContext
from storage import layout
from storage.errors import NotFoundError, StorageError

_LOG = structlog.get_logger(__name__)

#: Seconds an inbox entry of an unfinished upload is good for, and after which it is extended.
EXPIRES_IN: Final = 300.0
EXTEND_AFTER: Final = 60.0


class Reception:
    """Counts the uploads under way, and refuses more than the memory set aside for them allows."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place for one upload. Raises RefusedError where there is none."""
        if self._open >= self._most:
            raise RefusedError(BUSY, f"{self._most} uploads are under way already.")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1


class _Entry:
    """The upload's inbox entry, kept from expiring while bytes arrive."""

    def __init__(
        self, deps: IngestDeps, video_id: str, clock: Callable[[], float], *, exists: bool
    ) -> None:
        #: Whether there may be one, so that it has to be removed.
        self.exists = exists
        self._deps = deps
        self._id = video_id
        self._clock = clock
        self._since = clock()

    async def open(self) -> None:
        deps = self._deps
        self.exists = True
        try:
            await blocking(deps.threads.records, deps.catalog.receive, self._id, EXPIRES_IN)
        except StorageError:
            self.exists = False
            raise
        self._since = self._clock()

    async def kept(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """The chunks, with the entry extended in between."""
        deps = self._deps
        async for chunk in chunks:
            if self.exists and self._clock() - self._since > EXTEND_AFTER:
                await blocking(deps.threads.records, deps.catalog.extend, self._id, EXPIRES_IN)
                self._since = self._clock()
            yield chunk


async def take(
    deps: IngestDeps,
    intake: Intake,
    video_id: str,
    *,
    length: int | None = None,
    claimed: bool = False,
    trace: TraceContext | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> VideoRecord:
    """Store an upload and accept it. ``length`` is the body's, in bytes, where it is known;
    ``claimed`` says that there is an inbox entry already; the video's work hangs on ``trace``.

    Raises RefusedError, StorageError and CatalogError; then nothing of the upload is kept.
    """
    size = part_size(length or deps.config.max_upload)
    entry = _Entry(deps, video_id, clock, exists=claimed)
    try:
        parts = await _begun(regroup(entry.kept(intake.chunks()), size))
        await entry.open()
        with deps.tracer.span("store", facts={"video_id": video_id}) as span:
            stored = await _stored(deps, video_id, parts)
            span.tell({"size": stored})
        record = _record(deps, intake, video_id, stored, trace)
        await blocking(deps.threads.records, deps.catalog.accept, record)
    except BaseException:
        if entry.exists:
            with CancelScope(shield=True):
                await _abandon(deps, video_id)
        raise
    return record


async def hand_off(deps: IngestDeps, record: VideoRecord) -> None:
    """Wake the farm; without success the sweeper finds the video in the inbox."""
    try:
        await blocking(deps.threads.records, deps.hand_off, record)
    except Exception as error:  # noqa: BLE001 - the video is accepted, whatever this was
        _LOG.warning("hand_off_failed", video_id=record.id, error=repr(error))


async def _begun(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same parts, of which there is one. Raises RefusedError where there is none."""
    first = await anext(parts, None)
    if first is None:
        raise RefusedError(EMPTY_UPLOAD, "Not one byte of a video was sent.")
    return chained([first], parts)


async def _stored(deps: IngestDeps, video_id: str, parts: AsyncIterator[bytes]) -> int:
    try:
        return await store_parts(deps.store, layout.source(video_id), parts, deps.threads.uploads)
    except NotFoundError:  # the sweeper has taken the parts away
        raise UploadExpiredError(video_id) from None


def _record(
    deps: IngestDeps, intake: Intake, video_id: str, size: int, trace: TraceContext | None
) -> VideoRecord:
    options = intake.options()
    return VideoRecord(
        id=video_id,
        state=State.QUEUED,
        filename=options.filename,
        size=size,
        content_type=intake.content_type(),
        profile=options.profile_among(deps.config.profiles),
        priority=options.priority,
        passthrough=options.passthrough,
        traceparent=str(trace) if trace else None,
        created_at=deps.clock(),
    )


async def _abandon(deps: IngestDeps, video_id: str) -> None:
    try:
        await blocking(deps.threads.records, deps.catalog.abandon, video_id)
    except (StorageError, CatalogError) as error:
        _LOG.warning("abandon_failed", video_id=video_id, error=str(error))
