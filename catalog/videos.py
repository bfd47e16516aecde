"""The durable records of videos, and the one order in which they are written.

Storage is the truth. Every method leaves, at whatever write it is cut off, either nothing that
was promised to anybody or an entry from which the sweeper finishes the work:

* accept: inbox ``receiving`` → bytes → record → inbox ``accepted`` → (answer)
* end:    record with its event → index entry → inbox entry goes
* cancel: the same; the work is told to stop, and no longer counts
* fail:   dead letter → record with its event → as at any end
* fall back: record becomes ``queued``, a generation later
* retry:  inbox entry of the next generation → record becomes ``queued`` → dead letters go
          → (answer)
* delete: trash entry → record becomes a tombstone → (answer) → bytes go → tombstone entry
          → trash entry goes → (a day later) record and tombstone entry go

A separate trash entry keeps a deletion from racing the end of the same video's work: both would
otherwise rewrite one inbox entry, and deletes cannot be made conditional everywhere. For the same
reason every generation has an inbox entry of its own: the late end of one cannot remove the next.
An index entry says that a video was terminal once; a retried one keeps it, and the record decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

import structlog

from catalog.documents import load
from catalog.errors import (
    CatalogError,
    ContendedError,
    NewerSchemaError,
    UnknownVideoError,
    UploadExpiredError,
)
from catalog.letters import DeadLetters
from jobs.records import InboxEntry, VideoRecord
from jobs.states import RETRYABLE, TERMINAL, IllegalTransitionError, State, check_transition
from jobs.traceparent import TRACE_IDS
from storage import layout
from storage.documents import create_document, replace_document
from storage.errors import MalformedError, NotFoundError
from storage.objects import ObjectStore

_LOG = structlog.get_logger(__name__)

#: Compare-and-swap rounds before giving up; each loss means that somebody else got on.
_TRIES: Final = 20

#: Seconds a tombstone outlives the bytes: longer than any presigned URL is good for.
TOMBSTONE: Final = 24 * 3600.0

#: States of which a video leaves by itself.
_IN_WORK: Final = frozenset({State.QUEUED, State.PROCESSING})

#: What is said of a generation, and not yet true of the next. What is published stays in its place
#: until the next generation has something to show.
_UNDONE: Final[dict[str, Any]] = {
    "playable": False,
    "playable_at": None,
    "ready_at": None,
    "error": None,
    "warnings": (),
}


def utc_now() -> datetime:
    """The time, as records state it."""
    return datetime.now(UTC)


#: Hears of every record that this process wrote, as it was before, if it was, and as it is.
OnChange = Callable[[VideoRecord | None, VideoRecord], None]

#: Seconds for which an upload with the same ``Idempotency-Key`` is taken for the same upload.
IDEMPOTENCY: Final = 24 * 3600.0


class Catalog:
    """Records of videos. Every call blocks; all may be used from many threads.

    Each raises :class:`storage.errors.StorageError` while the storage does not answer, and
    :class:`NewerSchemaError` where it meets a document of a newer version.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        tombstone: float = TOMBSTONE,
        clock: Callable[[], datetime] = utc_now,
        on_change: OnChange = lambda before, after: None,  # noqa: ARG005
    ) -> None:
        self.letters = DeadLetters(store)
        self._on_change = on_change
        self._store = store
        self._tombstone = tombstone
        self._clock = clock

    def receive(self, video_id: str, expires_in: float) -> None:
        """Note, before the first byte, that an upload is coming, for ``expires_in`` seconds."""
        entry = InboxEntry(state="receiving", expires_at=self._after(expires_in))
        create_document(self._store, layout.inbox(video_id), entry.model_dump(mode="json"))

    def extend(self, video_id: str, expires_in: float) -> None:
        """Give a long upload more time. Raises :class:`UploadExpiredError`."""
        self._flip(video_id, InboxEntry(state="receiving", expires_at=self._after(expires_in)))

    def accept(self, record: VideoRecord) -> None:
        """Make a complete upload an acknowledged one. Raises :class:`UploadExpiredError`."""
        accepted = record.with_event("accepted", record.created_at)
        key = layout.record(record.id)
        create_document(self._store, key, accepted.model_dump(mode="json"))
        try:
            self._flip(record.id, InboxEntry(state="accepted"))
        except UploadExpiredError:
            self.remove_objects(record.id)
            self._store.delete([key])
            raise
        self._on_change(None, accepted)

    def confirm(self, video_id: str) -> None:
        """Finish an acceptance that was cut off after the record was written; harmless else.

        Raises :class:`UploadExpiredError` where the upload has been given up on.
        """
        entry = self.entry(video_id)
        if entry is not None and entry.state != "accepted":
            self._flip(video_id, InboxEntry(state="accepted"))

    def abandon(self, video_id: str) -> None:
        """Remove what a broken or expired upload left, unless it was accepted after all."""
        try:
            self._flip(video_id, InboxEntry(state="abandoned"))
        except UploadExpiredError:
            return
        self.remove_objects(video_id)
        self._store.delete([layout.record(video_id)])
        self._store.delete([layout.inbox(video_id)])

    def load(self, video_id: str) -> VideoRecord:
        """The record. Raises :class:`UnknownVideoError`, for a deleted video too."""
        record = self.load_any(video_id)
        if record.state is State.DELETING:
            raise UnknownVideoError(video_id)
        return record

    def load_any(self, video_id: str) -> VideoRecord:
        """The record, be it a tombstone. Raises :class:`UnknownVideoError`."""
        return self._record(video_id)[0]

    def update(self, video_id: str, change: Callable[[VideoRecord], VideoRecord]) -> VideoRecord:
        """Replace the record by ``change(record)``, as often as it takes to win.

        ``change`` is pure; one that returns its argument writes nothing. Raises
        :class:`jobs.states.IllegalTransitionError`, :class:`UnknownVideoError`,
        :class:`ContendedError`.
        """
        key = layout.record(video_id)
        for _ in range(_TRIES):
            record, etag = self._record(video_id)
            changed = change(record)
            if changed == record:
                return record
            if changed.state is not record.state:
                check_transition(video_id, record.state, changed.state)
            if replace_document(self._store, key, changed.model_dump(mode="json"), etag):
                self._on_change(record, changed)
                return changed
        raise ContendedError(key, _TRIES)

    def settle(self, video_id: str, generation: int = 1) -> None:
        """List a video terminal in ``generation`` in the index and take it off the to-do list."""
        self.enlist(video_id)
        generations = range(1, generation + 1)
        self._store.delete([layout.inbox(video_id, each) for each in generations])

    def enlist(self, video_id: str) -> None:
        """List a video as terminal that still has something to be cleaned up."""
        self._store.put(layout.index(video_id), b"")

    def cancel(self, video_id: str) -> VideoRecord:
        """End a video that waits or is being worked on; what was published stays.

        Raises :class:`jobs.states.IllegalTransitionError`, :class:`UnknownVideoError`.
        """
        return self.update(video_id, self._canceled)

    def retry(self, video_id: str) -> VideoRecord:
        """Begin the next generation of a video that errored or was canceled.

        The inbox entry comes first: cut off behind it, :meth:`resumed` goes on. Raises
        :class:`jobs.states.IllegalTransitionError`, :class:`UnknownVideoError`.
        """
        record = self.load(video_id)
        if record.state not in RETRYABLE:
            raise IllegalTransitionError(video_id, record.state, State.QUEUED)
        entry = InboxEntry(state="accepted").model_dump(mode="json")
        create_document(self._store, layout.inbox(video_id, record.generation + 1), entry)
        return self._renew(record)

    def fall_back(self, video_id: str, generation: int, event: str) -> VideoRecord:
        """Begin the next generation of a video that is worked on, as what it was made with failed.

        One write, and nothing before it: a video in work is on the to-do list, and nobody takes
        the entry of a generation off it that was never over. A record that is over, or already
        in another generation, is returned as it is: several parts may fail at once. Raises
        :class:`UnknownVideoError`.
        """

        def renewed(record: VideoRecord) -> VideoRecord:
            if record.generation != generation or record.state not in _IN_WORK:
                return record
            update = {"state": State.QUEUED, "generation": generation + 1, **_UNDONE}
            return record.model_copy(update=update).with_event(event, self._clock())

        return self.update(video_id, renewed)

    def resumed(self, record: VideoRecord) -> VideoRecord:
        """The record, after a retry of it that was cut off has been carried out."""
        if record.state not in RETRYABLE:
            return record
        if self.entry(record.id, record.generation + 1) is None:
            return record
        try:
            return self._renew(record)
        except UnknownVideoError:
            return self.load_any(record.id)

    def delete(self, video_id: str) -> VideoRecord:
        """Promise the removal: from now on nothing is served, and the bytes will go.

        Raises :class:`UnknownVideoError`.
        """
        self.load(video_id)
        self._store.put(layout.trash(video_id), b"")
        return self._bury(video_id)

    def inbox(self) -> Iterator[str]:
        """Ids of videos that are not terminal, or not yet seen to be; oldest first."""
        ids = (layout.inbox_id(info.key) for info in self._store.list(layout.INBOX))
        return (video_id for video_id, _ in groupby(ids))

    def trash(self) -> Iterator[str]:
        """Ids of videos whose removal was promised and is not finished, made tombstones by now.

        A record that cannot be read is passed over: the others are not to wait for it.
        """
        for info in self._store.list(layout.TRASH):
            video_id = layout.trash_id(info.key)
            try:
                self._bury(video_id)
            except UnknownVideoError:
                self._store.delete([info.key])
            except NewerSchemaError as error:
                _LOG.debug("left_to_newer_version", video_id=video_id, reason=str(error))
            except (CatalogError, MalformedError, ValueError) as error:
                _LOG.error("video_not_removed", video_id=video_id, key=info.key, error=str(error))
            else:
                yield video_id

    def entry(self, video_id: str, generation: int = 1) -> InboxEntry | None:
        """The line of the to-do list for a generation of the video."""
        try:
            return load(self._store, layout.inbox(video_id, generation), InboxEntry)[0]
        except NotFoundError:
            return None

    def is_expired(self, entry: InboxEntry) -> bool:
        """Whether an upload was given up on."""
        if entry.state == "abandoned":
            return True
        return entry.expires_at is not None and entry.expires_at < self._clock()

    def remove_objects(self, video_id: str) -> int:
        """Remove every object and unfinished upload of the video but its record; how many."""
        prefix = layout.video(video_id)
        for key, upload_id in self._store.uploads(prefix):
            self._store.abort_upload(key, upload_id)
        keys = [info.key for info in self._store.list(prefix)]
        keys = [key for key in keys if key != layout.record(video_id)]
        self._store.delete(keys)
        return len(keys)

    def purge(self, video_id: str) -> None:
        """Remove everything of a deleted video but its tombstone.

        The caller has made sure that no part of it is being worked on.
        """
        while self.remove_objects(video_id):
            pass
        self.letters.remove_all(video_id)
        entries = [info.key for info in self._store.list(f"{layout.INBOX}{video_id}")]
        self._store.delete([layout.index(video_id), *entries])
        until = int(self._after(self._tombstone).timestamp())
        self._store.put(layout.tombstone(video_id, until), b"")
        self._store.delete([layout.trash(video_id)])

    def expire_tombstones(self) -> int:
        """Remove the tombstones whose time has come, and what late writers left; how many."""
        now = self._clock().timestamp()
        expired = 0
        for info in self._store.list(layout.TOMBSTONES):
            video_id, until = layout.tombstone_name(info.key)
            if until > now:
                break
            self.remove_objects(video_id)
            self.letters.remove_all(video_id)
            self._store.delete([layout.record(video_id)])
            self._store.delete([info.key])
            expired += 1
        return expired

    def expire_idempotency(self) -> int:
        """Remove the keys of uploads that nobody can be retrying any more; how many."""
        oldest = self._clock() - timedelta(seconds=IDEMPOTENCY)
        infos = self._store.list(layout.IDEMPOTENCY)
        expired = [info.key for info in infos if info.modified < oldest]
        self._store.delete(expired)
        return len(expired)

    def housekeep(self) -> None:
        """Remove what has expired. Costs a request for every thousand documents."""
        self.expire_tombstones()
        self.expire_idempotency()

    def _bury(self, video_id: str) -> VideoRecord:
        tombstone = {"state": State.DELETING, "playable": False}
        return self.update(video_id, lambda record: record.model_copy(update=tombstone))

    def _canceled(self, record: VideoRecord) -> VideoRecord:
        if record.state is State.DELETING:
            raise UnknownVideoError(record.id)
        check_transition(record.id, record.state, State.CANCELED)
        canceled = record.model_copy(update={"state": State.CANCELED})
        return canceled.with_event("canceled", self._clock())

    def _renew(self, seen: VideoRecord) -> VideoRecord:
        def renewed(record: VideoRecord) -> VideoRecord:
            if record.state is State.DELETING:
                raise UnknownVideoError(record.id)
            if record.generation != seen.generation:
                return record
            update = {"state": State.QUEUED, "generation": seen.generation + 1, **_UNDONE}
            return record.model_copy(update=update).with_event("retried", self._clock())

        renewal = self.update(seen.id, renewed)
        self.letters.retire(seen.id, seen.generation)
        return renewal

    def _after(self, seconds: float) -> datetime:
        return self._clock() + timedelta(seconds=seconds)

    def _record(self, video_id: str) -> tuple[VideoRecord, str]:
        try:
            record, etag = load(self._store, layout.record(video_id), VideoRecord)
        except NotFoundError:
            raise UnknownVideoError(video_id) from None
        TRACE_IDS.remember(video_id, record.trace.trace_id)
        return record, etag

    def _flip(self, video_id: str, entry: InboxEntry) -> None:
        key = layout.inbox(video_id)
        for _ in range(_TRIES):
            try:
                present, etag = load(self._store, key, InboxEntry)
            except NotFoundError:
                raise UploadExpiredError(video_id) from None
            if present.state not in ("receiving", entry.state):
                raise UploadExpiredError(video_id)
            flipped = present.model_copy(update=dict(entry))
            if replace_document(self._store, key, flipped.model_dump(mode="json"), etag):
                return
        raise ContendedError(key, _TRIES)


def is_terminal(record: VideoRecord) -> bool:
    """Whether nothing more happens to the video without a request."""
    return record.state in TERMINAL
