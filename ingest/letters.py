"""``/v1/farm/dead-letters``: what the farm could not make, why, and having it try again."""

from __future__ import annotations

from fastapi import APIRouter, Response

from catalog.errors import UnknownLetterError
from ingest.config import IngestDeps
from ingest.problems import INVALID_REQUEST, RefusedError
from ingest.state import BaseUrl, Deps
from ingest.threads import blocking
from ingest.videos import ACTION, PROBLEM, Cursor, Limit, begun
from ingest.views import DeadLetterList, DeadLetterView, letter_view
from jobs.ids import is_letter_id
from jobs.letters import DeadLetter
from jobs.records import VideoRecord

router = APIRouter(prefix="/v1/farm/dead-letters", tags=["farm"])


@router.get("", response_model=DeadLetterList, responses={422: PROBLEM, 503: PROBLEM})
async def dead_letters(deps: Deps, limit: Limit = 20, cursor: Cursor = None) -> DeadLetterList:
    """Parts that ended their videos, those of the newest video first."""
    if cursor is not None and not is_letter_id(cursor):
        raise RefusedError(INVALID_REQUEST, "The cursor is not one that this farm gave.")
    page = await blocking(deps.threads.records, deps.catalog.letters.page, limit, cursor)
    return DeadLetterList(dead_letters=tuple(map(letter_view, page.letters)), next=page.next)


@router.get("/{letter_id}", response_model=DeadLetterView, responses={404: PROBLEM, 503: PROBLEM})
async def dead_letter(deps: Deps, letter_id: str) -> DeadLetterView:
    """One dead letter: how often the part was tried, where, how that ended, and the evidence."""
    return letter_view(await blocking(deps.threads.records, _load, deps, letter_id))


@router.post("/{letter_id}/retry", **ACTION)
async def retry_dead_letter(deps: Deps, base_url: BaseUrl, letter_id: str) -> Response:
    """Make the letter's video anew, keeping parts that are finished; its letters go."""

    def retry() -> VideoRecord:
        return deps.catalog.retry(_load(deps, letter_id).video_id)

    return begun(deps, base_url, await blocking(deps.threads.records, retry))


def _load(deps: IngestDeps, letter_id: str) -> DeadLetter:
    if not is_letter_id(letter_id):
        raise UnknownLetterError(letter_id)
    return deps.catalog.letters.load(letter_id)
