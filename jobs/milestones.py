"""What the change of a video's record tells the metrics: each fact once, where it becomes true.

The one whose write of the record succeeds tells it, so that nothing is counted by two advancers
that come to the same end; a process that dies in that moment takes it along.
"""

from __future__ import annotations

from datetime import datetime

from jobs.metrics import (
    TIME_TO_PLAYABLE,
    TIME_TO_READY,
    UPLOADED_BYTES,
    VIDEOS_ACCEPTED,
    VIDEOS_ENDED,
)
from jobs.records import VideoRecord
from jobs.states import TERMINAL, State
from jobs.tallies import Tallies


def tally(tallies: Tallies, before: VideoRecord | None, after: VideoRecord) -> None:
    """Count what is true ``after`` a write and was not ``before``; None for a new record."""
    if before is None:
        tallies.add(VIDEOS_ACCEPTED)
        tallies.add(UPLOADED_BYTES, amount=after.size)
        return
    if after.state is not before.state and after.state in (*TERMINAL, State.DELETING):
        tallies.add(VIDEOS_ENDED, (after.state.value,))
    began = begun_at(after)
    if after.playable_at is not None and after.playable_at != before.playable_at:
        tallies.observe(TIME_TO_PLAYABLE, _seconds(began, after.playable_at))
    if after.ready_at is not None and after.ready_at != before.ready_at:
        tallies.observe(TIME_TO_READY, _seconds(began, after.ready_at))


def begun_at(record: VideoRecord) -> datetime:
    """When the present generation was asked for: at the acceptance, or at its retry."""
    name = f"{record.id}:{record.generation}:retried"
    return next((event.at for event in record.events if event.id == name), record.created_at)


def _seconds(began: datetime, ended: datetime) -> float:
    return max(0.0, (ended - began).total_seconds())
