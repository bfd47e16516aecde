"""The order of writes of accept, end and delete, on a real storage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from catalog.errors import UnknownVideoError, UploadExpiredError
from catalog.listing import Listing
from catalog.videos import Catalog
from jobs.ids import new_video_id
from jobs.records import Problem, VideoRecord
from jobs.states import IllegalTransitionError, State
from storage import layout
from storage.documents import create_document
from storage.objects import ObjectStore


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(object_store: ObjectStore, clock: Clock) -> Catalog:
    return Catalog(object_store, tombstone=100.0, clock=clock)


@pytest.fixture
def accepted(catalog: Catalog, object_store: ObjectStore) -> Callable[..., VideoRecord]:
    def accept(at: float = 1_700_000_000.0) -> VideoRecord:
        record = draft(at)
        catalog.receive(record.id, 60.0)
        object_store.put(layout.source(record.id), b"film")
        catalog.accept(record)
        return catalog.load(record.id)

    return accept


def draft(at: float = 1_700_000_000.0) -> VideoRecord:
    created = datetime.fromtimestamp(at, UTC)
    return VideoRecord(id=new_video_id(at), state=State.QUEUED, size=4, created_at=created)


def keys(store: ObjectStore) -> list[str]:
    return [info.key for info in store.list("")]


def ended(state: State) -> Callable[[VideoRecord], VideoRecord]:
    return lambda record: record.model_copy(update={"state": state}).with_event(state.value)


def test_an_upload_is_nobodys_before_it_is_accepted(catalog: Catalog) -> None:
    record = draft()
    catalog.receive(record.id, 60.0)
    with pytest.raises(UnknownVideoError):
        catalog.load(record.id)
    entry = catalog.entry(record.id)
    assert entry is not None
    assert entry.state == "receiving"


def test_accepted_means_a_record_and_an_inbox_entry(
    catalog: Catalog, accepted: Callable[..., VideoRecord]
) -> None:
    record = accepted()
    entry = catalog.entry(record.id)
    assert entry is not None
    assert entry.state == "accepted"
    assert [event.id for event in record.events] == [f"{record.id}:1:accepted"]
    assert list(catalog.inbox()) == [record.id]


def test_an_abandoned_upload_leaves_nothing(catalog: Catalog, object_store: ObjectStore) -> None:
    record = draft()
    catalog.receive(record.id, 60.0)
    object_store.put(layout.source(record.id), b"half a fi")
    upload = object_store.multipart(layout.source(record.id), content_type="video/mp4")
    upload.upload_part(1, b"lm")
    catalog.abandon(record.id)
    assert keys(object_store) == []
    assert list(object_store.uploads("")) == []


def test_an_upload_that_was_given_up_on_cannot_be_accepted(
    catalog: Catalog, object_store: ObjectStore
) -> None:
    record = draft()
    catalog.receive(record.id, 60.0)
    catalog.abandon(record.id)
    with pytest.raises(UploadExpiredError):
        catalog.accept(record)
    assert keys(object_store) == []


def test_abandoning_spares_what_was_accepted(
    catalog: Catalog, accepted: Callable[..., VideoRecord]
) -> None:
    record = accepted()
    catalog.abandon(record.id)
    assert catalog.load(record.id) == record


def test_expiry_can_be_put_off(catalog: Catalog, clock: Clock) -> None:
    record = draft()
    catalog.receive(record.id, 60.0)
    clock.advance(50)
    catalog.extend(record.id, 60.0)
    clock.advance(50)
    entry = catalog.entry(record.id)
    assert entry is not None
    assert not catalog.is_expired(entry)
    clock.advance(20)
    assert catalog.is_expired(entry)


def test_only_legal_transitions_are_written(
    catalog: Catalog, accepted: Callable[..., VideoRecord]
) -> None:
    record = accepted()
    with pytest.raises(IllegalTransitionError):
        catalog.update(record.id, ended(State.READY))
    assert catalog.load(record.id) == record


def test_settling_moves_a_video_from_the_inbox_to_the_index(
    catalog: Catalog, object_store: ObjectStore, accepted: Callable[..., VideoRecord]
) -> None:
    record = accepted()
    problem = Problem(code="x", message="y", hint="z")
    catalog.update(
        record.id,
        lambda r: r.model_copy(update={"state": State.ERRORED, "error": problem}),
    )
    catalog.settle(record.id)
    catalog.settle(record.id)
    assert list(catalog.inbox()) == []
    assert [layout.index_id(i.key) for i in object_store.list(layout.INDEX)] == [record.id]


def test_a_late_end_of_one_generation_leaves_the_next_on_the_list(
    catalog: Catalog, object_store: ObjectStore, accepted: Callable[..., VideoRecord]
) -> None:
    record = accepted()
    assert catalog.cancel(record.id).state is State.CANCELED
    retried = catalog.retry(record.id)
    assert (retried.state, retried.generation) == (State.QUEUED, 2)
    assert list(catalog.inbox()) == [record.id]
    catalog.settle(record.id, 1)
    assert list(catalog.inbox()) == [record.id]

    catalog.cancel(record.id)
    catalog.settle(record.id, 2)
    assert list(catalog.inbox()) == []
    assert [layout.index_id(i.key) for i in object_store.list(layout.INDEX)] == [record.id]
    names = [event.id.removeprefix(f"{record.id}:") for event in catalog.load(record.id).events]
    assert names == ["1:accepted", "1:canceled", "2:retried", "2:canceled"]


def test_a_retry_that_was_cut_off_is_carried_out_later_and_once(
    catalog: Catalog, object_store: ObjectStore, accepted: Callable[..., VideoRecord]
) -> None:
    record = catalog.cancel(accepted().id)
    catalog.settle(record.id)
    assert catalog.resumed(record) == record

    create_document(object_store, layout.inbox(record.id, 2), {"state": "accepted"})
    catalog.settle(record.id)
    assert list(catalog.inbox()) == [record.id]
    resumed = catalog.resumed(record)
    assert (resumed.state, resumed.generation) == (State.QUEUED, 2)
    assert catalog.resumed(record) == resumed == catalog.load(record.id)
    with pytest.raises(IllegalTransitionError):
        catalog.retry(record.id)


def test_a_deleted_video_takes_its_retries_with_it(
    catalog: Catalog, object_store: ObjectStore, accepted: Callable[..., VideoRecord]
) -> None:
    record = catalog.cancel(accepted().id)
    catalog.retry(record.id)
    catalog.delete(record.id)
    for action in (catalog.cancel, catalog.retry):
        with pytest.raises(UnknownVideoError):
            action(record.id)
    catalog.purge(record.id)
    assert list(catalog.inbox()) == []


def test_a_deleted_video_is_unknown_at_once_and_leaves_nothing_in_the_end(
    catalog: Catalog,
    object_store: ObjectStore,
    clock: Clock,
    accepted: Callable[..., VideoRecord],
) -> None:
    record = accepted()
    catalog.delete(record.id)
    with pytest.raises(UnknownVideoError):
        catalog.load(record.id)
    with pytest.raises(UnknownVideoError):
        catalog.delete(record.id)
    assert list(catalog.trash()) == [record.id]

    catalog.purge(record.id)
    assert list(catalog.trash()) == []
    tombstone = layout.record(record.id)
    assert [key for key in keys(object_store) if key.startswith(layout.VIDEOS)] == [tombstone]

    assert catalog.expire_tombstones() == 0
    clock.advance(101)
    object_store.put(layout.play(record.id, "1/late.m4s"), b"from a late worker")
    assert catalog.expire_tombstones() == 1
    assert keys(object_store) == []


def test_a_record_that_cannot_be_read_keeps_no_other_from_being_removed(
    catalog: Catalog, object_store: ObjectStore, accepted: Callable[..., VideoRecord]
) -> None:
    first, no_record, no_json, last = (accepted(at=1_700_000_000.0 + n) for n in range(4))
    for record in (first, no_record, no_json, last):
        catalog.delete(record.id)
    object_store.put(layout.record(no_record.id), b"{}")
    object_store.put(layout.record(no_json.id), b"<html>")
    with capture_logs() as logs:
        assert list(catalog.trash()) == [first.id, last.id]
    told = {row["key"] for row in logs if row["event"] == "video_not_removed"}
    assert told == {layout.trash(no_record.id), layout.trash(no_json.id)}


def test_pages_list_the_newest_first_across_inbox_and_index(
    catalog: Catalog, object_store: ObjectStore, accepted: Callable[..., VideoRecord]
) -> None:
    records = [accepted(1_700_000_000.0 + second) for second in range(7)]
    for record in records[::2]:
        catalog.update(record.id, ended(State.ERRORED))
        catalog.settle(record.id)
    listing = Listing(catalog, object_store)

    first = listing.page(None, 4, None)
    second = listing.page(None, 4, first.next)
    listed = [record.id for record in (*first.videos, *second.videos)]
    assert listed == [record.id for record in reversed(records)]
    assert second.next is None

    waiting = listing.page(frozenset({State.QUEUED}), 10, None)
    assert [r.id for r in waiting.videos] == [r.id for r in reversed(records[1::2])]
    over = listing.page(frozenset({State.ERRORED}), 10, None)
    assert [r.id for r in over.videos] == [r.id for r in reversed(records[::2])]
