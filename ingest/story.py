"""``/v1/farm/videos``: how a video came about, for whoever has to find out what happened to it."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Final

import redis
import structlog
from fastapi import APIRouter
from pydantic import BaseModel

from ingest.config import IngestDeps
from ingest.problems import UNKNOWN_VIDEO, RefusedError
from ingest.state import Deps
from ingest.threads import blocking
from ingest.videos import PROBLEM
from ingest.views import AttemptView, DeadLetterView, attempt_view, letter_view
from jobs.ids import is_video_id
from jobs.records import Event, VideoRecord
from jobs.states import State
from storage import layout

_LOG = structlog.get_logger(__name__)

router = APIRouter(prefix="/v1/farm/videos", tags=["farm"])

#: Receipts that are told, and dead letters: one list of storage each.
_RECEIPTS: Final = 1000
_LETTERS: Final = 20


class ReceiptView(BaseModel):
    """A part, or a checkpoint of one, that was done then."""

    part: str
    checkpoint: int
    at: datetime


class StoryView(BaseModel):
    """What is recorded of a video. `receipts` are of this generation, the first of them.

    `attempts` are the last runs of each part that is not done, by generation and part; null while
    Redis does not answer.
    """

    id: str
    trace_id: str
    status: State
    generation: int
    filename: str | None
    created_at: datetime
    events: tuple[Event, ...]
    receipts: tuple[ReceiptView, ...]
    attempts: dict[str, tuple[AttemptView, ...]] | None
    dead_letters: tuple[DeadLetterView, ...]


@router.get("/{video_id}", response_model=StoryView, responses={404: PROBLEM, 503: PROBLEM})
async def story(deps: Deps, video_id: str) -> StoryView:
    """One video's events, parts that are done, runs of those that are not, and dead letters."""
    if not is_video_id(video_id):
        raise RefusedError(UNKNOWN_VIDEO, f"{video_id!r} is no video's id.")
    return await blocking(deps.threads.records, _story, deps, video_id)


def _story(deps: IngestDeps, video_id: str) -> StoryView:
    record = deps.catalog.load(video_id)
    letters = deps.catalog.letters
    known = [letters.legible(each) for each in letters.of(video_id)[:_LETTERS]]
    return StoryView(
        id=record.id,
        trace_id=record.trace.trace_id,
        status=record.state,
        generation=record.generation,
        filename=record.filename,
        created_at=record.created_at,
        events=record.events,
        receipts=_receipts(deps, record),
        attempts=_attempts(deps, video_id),
        dead_letters=tuple(letter_view(letter) for letter in known if letter is not None),
    )


def _receipts(deps: IngestDeps, record: VideoRecord) -> tuple[ReceiptView, ...]:
    """By their names and times alone: reading them would take a request for each."""
    infos = deps.store.list(layout.receipts(record.id, record.generation), limit=_RECEIPTS)
    named = [(layout.receipt_name(info.key), info.modified) for info in islice(infos, _RECEIPTS)]
    return tuple(
        ReceiptView(part=part, checkpoint=checkpoint, at=at) for (part, checkpoint), at in named
    )


def _attempts(deps: IngestDeps, video_id: str) -> dict[str, tuple[AttemptView, ...]] | None:
    try:
        found = deps.attempts(video_id)
    except redis.RedisError as error:
        _LOG.warning("attempts_unknown", video_id=video_id, error=str(error))
        return None
    return {name: tuple(map(attempt_view, runs)) for name, runs in found.items()}
