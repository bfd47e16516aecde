"""What the record says of a film once it is whole."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobs.records import VideoRecord
from jobs.states import State
from media.probed import Probe
from pipeline.finish import as_ready
from transcoder.plan import Plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def plan() -> Plan:
    """One of nothing."""
    probe = Probe(container="mov", duration=20, start=0, size=1, bit_rate=1, indexed=True)
    return Plan(
        profile="default", probe=probe, target_duration=6, checkpoint=5, video=None, audio=(),
        parts=(), lanes=(),
    )  # fmt: skip


def record(state: State = State.PROCESSING) -> VideoRecord:
    return VideoRecord(id="film", state=state, size=1, created_at=NOW)


def names(found: VideoRecord) -> list[str]:
    return [event.name for event in found.events]


def test_a_film_that_was_never_shown_before_it_was_whole_is_playable_all_the_same(
    plan: Plan,
) -> None:
    ready = as_ready(record(), record(), plan, {}, [], ())
    assert (ready.state, ready.playable, ready.playable_at) == (State.READY, True, ready.ready_at)
    assert names(ready) == ["playable", "ready"]


def test_a_film_that_was_shown_before_is_playable_once(plan: Plan) -> None:
    shown = record().model_copy(update={"playable": True, "playable_at": NOW})
    shown = shown.with_event("playable", NOW)
    ready = as_ready(shown, record(), plan, {}, [], ())
    assert ready.playable_at == NOW
    assert names(ready) == ["playable", "ready"]


def test_a_film_that_has_ended_stays_as_it_is(plan: Plan) -> None:
    canceled = record(State.CANCELED)
    assert as_ready(canceled, record(), plan, {}, [], ()) is canceled
