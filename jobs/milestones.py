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
    at = after.playable_at
    if at is not None and at != before.playable_at and not _was_playable(before, began):
        tallies.observe(TIME_TO_PLAYABLE, _seconds(began, at))
    if after.ready_at is not None and after.ready_at != before.ready_at:
        tallies.observe(TIME_TO_READY, _seconds(began, after.ready_at))


def begun_at(record: VideoRecord) -> datetime:
    """When a viewer began to wait: at the acceptance, or at the last retry.

    A generation that takes the place of one whose device failed begins nothing anew.
    """
    retried = (event.at for event in reversed(record.events) if event.name == "retried")
    return next(retried, record.created_at)


def _was_playable(record: VideoRecord, since: datetime) -> bool:
    """Whether viewers have had something to play since then, if from an earlier generation."""
    return any(event.name == "playable" and event.at >= since for event in record.events)


def _seconds(began: datetime, ended: datetime) -> float:
    return max(0.0, (ended - began).total_seconds())
