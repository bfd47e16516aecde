"""Whatever happens to a video in whatever order, its record follows the table of states.

Requests, workers, a sweeper and crashes are drawn at random, and a model of a few lines says what
the record must be. Workers and ends that are late belong to generations that are over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.errors import UnknownVideoError
from catalog.videos import Catalog, is_terminal
from jobs.ids import new_video_id
from jobs.records import VideoRecord
from jobs.states import RETRYABLE, TERMINAL, TRANSITIONS, IllegalTransitionError, State
from storage import layout
from storage.documents import create_document
from storage.objects import ObjectStore

TARGETS = {
    "begin": State.PROCESSING,
    "finish": State.READY,
    "fail": State.ERRORED,
    "cancel": State.CANCELED,
    "retry": State.QUEUED,
    "delete": State.DELETING,
}
ACTIONS = (*TARGETS, "cut off retry", "late end", "late failure", "sweep")

#: A deletion early on would leave little to be seen.
LIFE = st.lists(st.sampled_from([a for a in ACTIONS if a != "delete"]), min_size=8, max_size=16)
DEATH = st.lists(st.sampled_from(ACTIONS), max_size=4)


class Video:
    """A video, and what ought to be true of it."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.catalog = Catalog(store)
        self.id = new_video_id()
        self.state = State.QUEUED
        self.generation = 1
        self.is_retry_wanted = False
        record = VideoRecord(id=self.id, state=State.QUEUED, size=1, created_at=datetime.now(UTC))
        self.catalog.receive(self.id, 60)
        self.catalog.accept(record)

    def act(self, action: str) -> None:
        """Do it to the video and to the model."""
        match action:
            case "cut off retry":
                if self.state in RETRYABLE:
                    key = layout.inbox(self.id, self.generation + 1)
                    create_document(self.store, key, {"state": "accepted"})
                    self.is_retry_wanted = True
            case "late end":
                if self.generation > 1:
                    self.catalog.settle(self.id, self.generation - 1)
            case "late failure":
                self._work("fail", self.generation - 1)
            case "sweep":
                self._sweep()
            case _:
                self._move(action)

    def check(self) -> None:
        """The record is as it ought to be, and what is not over is on the to-do list."""
        record = self.catalog.load_any(self.id)
        assert (record.state, record.generation) == (self.state, self.generation)
        ids = Counter(event.id for event in record.events)
        assert set(ids.values()) == {1}
        ends = Counter(e.id.split(":")[1] for e in record.events if e.name in TERMINAL)
        assert set(ends.values()) <= {1}
        if self.state is State.DELETING:
            assert self.id in self.catalog.trash()
        elif not is_terminal(record):
            assert self.catalog.entry(self.id, self.generation) is not None

    def _move(self, action: str) -> None:
        target = TARGETS[action]
        if self.state in RETRYABLE if action == "retry" else target in TRANSITIONS[self.state]:
            self._request(action)
            self.state = target
            if action == "retry":
                self.generation += 1
                self.is_retry_wanted = False
        elif target is self.state and action in ("begin", "finish", "fail"):
            self._work(action, self.generation)
        else:
            with pytest.raises((IllegalTransitionError, UnknownVideoError)):
                self._request(action)

    def _request(self, action: str) -> None:
        requests: dict[str, Callable[[str], object]] = {
            "cancel": self.catalog.cancel,
            "retry": self.catalog.retry,
            "delete": self.catalog.delete,
        }
        if action in requests:
            requests[action](self.id)
        else:
            self._work(action, self.generation)

    def _work(self, action: str, generation: int) -> None:
        target = TARGETS[action]

        def changed(record: VideoRecord) -> VideoRecord:
            if record.generation != generation:
                return record
            name = target.value if target in TERMINAL else "begun"
            return record.model_copy(update={"state": target}).with_event(name)

        self.catalog.update(self.id, changed)

    def _sweep(self) -> None:
        record = self.catalog.load_any(self.id)
        if not is_terminal(record):
            return
        resumed = self.catalog.resumed(record)
        if is_terminal(resumed):
            self.catalog.settle(self.id, resumed.generation)
            assert self.id not in self.catalog.inbox()
        if self.is_retry_wanted and self.state in RETRYABLE:
            self.state, self.generation = State.QUEUED, self.generation + 1
            self.is_retry_wanted = False


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(life=LIFE, death=DEATH)
def test_any_order_of_events_follows_the_table(
    object_store: ObjectStore, life: list[str], death: list[str]
) -> None:
    video = Video(object_store)
    for action in (*life, *death):
        video.act(action)
        video.check()
