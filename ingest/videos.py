"""``/v1/videos``: uploads, listing, status, cancellation, retries, deletion."""

from __future__ import annotations

from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.background import BackgroundTask

from catalog.listing import Listing, Page
from ingest.config import IngestDeps
from ingest.idempotency import MAX_KEY, Claim, claim
from ingest.intake import intake_of
from ingest.options import MAX_PASSTHROUGH, UploadOptions
from ingest.problems import INVALID_REQUEST, UNKNOWN_VIDEO, ProblemBody, RefusedError
from ingest.progress import progress_of
from ingest.state import BaseUrl, Deps, Desk
from ingest.threads import blocking
from ingest.uploads import hand_off, take
from ingest.views import Progress, VideoList, VideoView, video_view
from jobs.ids import is_video_id, new_video_id
from jobs.records import VideoRecord
from jobs.states import State
from jobs.traceparent import TraceContext

router = APIRouter(prefix="/v1/videos", tags=["videos"])

_LOG = structlog.get_logger(__name__)

PROBLEM: Final[dict[str, Any]] = {"model": ProblemBody, "description": "A problem (RFC 9457)."}
_BINARY: Final = {"type": "string", "format": "binary"}
_FORM: Final = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": _BINARY,
        "profile": {"type": "string"},
        "priority": {"type": "string", "enum": ["high", "normal", "low"]},
        "filename": {"type": "string"},
        "passthrough": {"type": "string", "maxLength": MAX_PASSTHROUGH},
    },
}
_UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": _BINARY},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}

ACTION: Final[dict[str, Any]] = {
    "status_code": 202,
    "response_model": VideoView,
    "responses": dict.fromkeys((404, 409, 503), PROBLEM),
}

_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY,
        description="Sent again with the same key, an upload is not stored twice.",
    ),
]
_Status = Annotated[list[State] | None, Query(alias="status", description="May be repeated.")]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=128, description="`next` of the page before.")]


@router.post(
    "",
    status_code=202,
    response_model=VideoView,
    openapi_extra=_UPLOAD,
    responses=dict.fromkeys((400, 408, 409, 413, 415, 422, 501, 503, 507), PROBLEM),
)
async def upload(
    deps: Deps,
    desk: Desk,
    base_url: BaseUrl,
    request: Request,
    options: Annotated[UploadOptions, Query()],
    key: _Key = None,
) -> Response:
    """Upload a video: the bytes as the body, or a form with the field `file`.

    Answered as soon as the bytes are safe; the work comes after.
    """
    options.profile_among(deps.config.profiles)
    intake = intake_of(request, options, deps.config)
    length = request.headers.get("content-length", "")
    with desk.admit():
        claimed = await _claimed(deps, key, options)
        if claimed.known is not None:
            view = await blocking(deps.threads.records, _view, deps, claimed.known, base_url)
            replayed = _accepted(view, base_url, {"idempotency-replayed": "true"})
            if claimed.known.state is State.QUEUED:
                replayed.background = BackgroundTask(hand_off, deps, claimed.known)
            return replayed
        trace: TraceContext = request.state.trace
        about = {"video_id": claimed.video_id, "trace_id": trace.trace_id}
        structlog.contextvars.bind_contextvars(**about)
        deps.tracer.current().tell({"video_id": claimed.video_id})
        known = int(length) if length.isdecimal() else None
        has_entry = key is not None
        record = await take(
            deps, intake, claimed.video_id, length=known, claimed=has_entry, trace=trace
        )
    answer = _accepted(video_view(record, Progress(), base_url), base_url, {})
    answer.background = BackgroundTask(hand_off, deps, record)
    return answer


@router.get("", response_model=VideoList, responses={422: PROBLEM, 503: PROBLEM})
async def videos(
    deps: Deps,
    base_url: BaseUrl,
    status: _Status = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> VideoList:
    """Videos, newest first."""
    if cursor is not None and not is_video_id(cursor):
        raise RefusedError(INVALID_REQUEST, "The cursor is not one that this farm gave.")
    states = frozenset(status) if status else None
    page, views = await blocking(deps.threads.records, _page, deps, base_url, states, limit, cursor)
    return VideoList(videos=views, next=page.next)


@router.get("/{video_id}", response_model=VideoView, responses={404: PROBLEM, 503: PROBLEM})
async def video(deps: Deps, base_url: BaseUrl, video_id: str) -> VideoView:
    """One video."""
    _check_id(video_id)

    def load() -> VideoView:
        return _view(deps, deps.catalog.load(video_id), base_url)

    return await blocking(deps.threads.records, load)


@router.delete("/{video_id}", status_code=204, responses={404: PROBLEM, 503: PROBLEM})
async def delete(deps: Deps, video_id: str) -> Response:
    """Delete a video: from this answer on nothing of it is served, and its objects go."""
    _check_id(video_id)
    await blocking(deps.threads.records, deps.catalog.delete, video_id)
    return Response(status_code=204, background=BackgroundTask(_stop, deps, video_id))


@router.post("/{video_id}/cancel", **ACTION)
async def cancel(deps: Deps, base_url: BaseUrl, video_id: str) -> Response:
    """End a video that is queued or processing; what is published of it stays, complete or not."""
    _check_id(video_id)
    record = await blocking(deps.threads.records, deps.catalog.cancel, video_id)
    answer = _accepted(video_view(record, Progress(), base_url), base_url, {})
    answer.background = BackgroundTask(_stop, deps, video_id)
    return answer


@router.post("/{video_id}/retry", **ACTION)
async def retry(deps: Deps, base_url: BaseUrl, video_id: str) -> Response:
    """Make a video anew that has errored or was canceled; parts that are finished are kept."""
    _check_id(video_id)
    record = await blocking(deps.threads.records, deps.catalog.retry, video_id)
    return begun(deps, base_url, record)


def begun(deps: IngestDeps, base_url: str, record: VideoRecord) -> Response:
    """The answer of a retry, after which the farm is woken."""
    answer = _accepted(video_view(record, Progress(), base_url), base_url, {})
    answer.background = BackgroundTask(hand_off, deps, record)
    return answer


def _check_id(video_id: str) -> None:
    if not is_video_id(video_id):
        raise RefusedError(UNKNOWN_VIDEO, f"{video_id!r} is no video's id.")


async def _claimed(deps: IngestDeps, key: str | None, options: UploadOptions) -> Claim:
    video_id = new_video_id(deps.clock().timestamp())
    if key is None:
        return Claim(video_id)
    return await blocking(deps.threads.records, claim, deps, key, options, video_id)


def _accepted(view: VideoView, base_url: str, headers: dict[str, str]) -> Response:
    location = {"location": f"{base_url}/v1/videos/{view.id}"}
    return JSONResponse(view.model_dump(mode="json"), 202, location | headers)


def _page(
    deps: IngestDeps, base_url: str, states: frozenset[State] | None, limit: int, cursor: str | None
) -> tuple[Page, tuple[VideoView, ...]]:
    page = Listing(deps.catalog, deps.store).page(states, limit, cursor)
    return page, tuple(_view(deps, record, base_url) for record in page.videos)


def _view(deps: IngestDeps, record: VideoRecord, base_url: str) -> VideoView:
    return video_view(record, progress_of(deps, record), base_url)


async def _stop(deps: IngestDeps, video_id: str) -> None:
    try:
        await blocking(deps.threads.records, deps.stop, video_id)
    except Exception as error:  # noqa: BLE001 - the sweeper finds the tombstone, whatever this was
        _LOG.warning("stop_failed", video_id=video_id, error=repr(error))
