"""``/play/…``: a video's published objects, as any player or CDN wants to fetch them.

Each request looks at the video's record first: a deleted video serves nothing any more, although
its bytes may still be there.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import Annotated, Final

from anyio import CancelScope, CapacityLimiter
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from catalog.errors import NewerSchemaError, UnknownVideoError
from ingest.config import IngestDeps
from ingest.playables import cache_control, is_compressible, is_playable_path, media_type
from ingest.problems import NOT_FOUND, RANGE_NOT_SATISFIABLE, UNKNOWN_VIDEO, RefusedError
from ingest.ranges import (
    GZIPPED,
    ByteRange,
    EmptySuffixError,
    accepts_gzip,
    http_date,
    is_unchanged,
    parse_range,
    range_holds,
)
from ingest.state import Deps
from ingest.threads import blocking
from jobs.ids import is_video_id
from jobs.states import State
from storage import layout
from storage.errors import InvalidRangeError, NotFoundError
from storage.objects import ObjectStore
from storage.streams import ObjectStream

router = APIRouter(tags=["playback"])

#: Bytes up to which text is compressed, and an unread body is read to keep its connection.
_SMALL: Final = 4 * 1024**2
_DRAIN: Final = 64 * 1024

_PREFLIGHT: Final = {
    "access-control-allow-methods": "GET, HEAD, OPTIONS",
    "access-control-allow-headers": "Range, If-Range, If-None-Match, If-Modified-Since",
    "access-control-max-age": "86400",
}

_PATH = Annotated[str, Path(description="Such as `master.m3u8`.")]
_ANSWERS: Final[dict[int | str, dict[str, object]]] = {
    200: {"description": "The object."},
    206: {"description": "The range asked for."},
    304: {"description": "Unchanged."},
    404: {"description": "No such video, or no such object (yet)."},
    416: {"description": "The range begins behind the end."},
}


@router.get("/play/{video_id}/{path:path}", response_class=Response, responses=_ANSWERS)
async def play(deps: Deps, request: Request, video_id: str, path: _PATH) -> Response:
    """A playlist, segment, poster or storyboard of a video; takes ranges and conditions."""
    if not is_video_id(video_id):
        raise RefusedError(UNKNOWN_VIDEO, f"{video_id!r} is no video's id.")
    if not is_playable_path(path):
        raise RefusedError(NOT_FOUND, f"{path!r} is no path of a video.")
    threads = deps.threads.playback
    stream = await blocking(threads, _open, deps, video_id, path, request.headers)
    try:
        return await _answer(request, path, stream, threads)
    except BaseException:
        stream.close()
        raise


@router.head("/play/{video_id}/{path:path}", include_in_schema=False)
async def head(deps: Deps, request: Request, video_id: str, path: str) -> Response:
    """The headers that GET would send."""
    return await play(deps, request, video_id, path)


@router.options("/play/{video_id}/{path:path}", include_in_schema=False)
async def preflight() -> Response:
    """What pages of any origin may ask for."""
    return Response(status_code=204, headers=_PREFLIGHT)


def _open(deps: IngestDeps, video_id: str, path: str, headers: Mapping[str, str]) -> ObjectStream:
    _check_not_deleted(deps, video_id)
    key = layout.play(video_id, path)
    try:
        return _opened(deps.store, key, headers)
    except NotFoundError:
        raise RefusedError(NOT_FOUND, f"Video {video_id} has no {path} (yet).") from None


def _check_not_deleted(deps: IngestDeps, video_id: str) -> None:
    """What is published is served, whichever version of the farm has written the record."""
    try:
        deps.catalog.load(video_id)
    except NewerSchemaError as error:
        if error.document.get("state") == State.DELETING:
            raise UnknownVideoError(video_id) from None


def _opened(store: ObjectStore, key: str, headers: Mapping[str, str]) -> ObjectStream:
    try:
        wanted = _wanted(store, key, headers)
        if wanted is None:
            return store.open(key)
        return store.open(key, wanted.first, wanted.last)
    except (EmptySuffixError, InvalidRangeError):
        size = store.head(key).size
        raise RefusedError(
            RANGE_NOT_SATISFIABLE,
            f"There are {size} bytes.",
            headers={"content-range": f"bytes */{size}"},
        ) from None


def _wanted(store: ObjectStore, key: str, headers: Mapping[str, str]) -> ByteRange | None:
    wanted = parse_range(headers.get("range"))
    if wanted is None or "if-range" not in headers:
        return wanted
    info = store.head(key)
    return wanted if range_holds(headers["if-range"], info.etag, info.modified) else None


async def _answer(
    request: Request, path: str, stream: ObjectStream, threads: CapacityLimiter
) -> Response:
    headers = _headers(path, stream)
    if is_unchanged(request.headers, stream.etag, stream.modified):
        await blocking(threads, _drop, stream)
        del headers["content-type"]
        return Response(status_code=304, headers=headers)
    if stream.content_range:
        headers |= {"content-range": stream.content_range}
    elif _is_to_shrink(request, path, stream):
        packed = await blocking(threads, _gzipped, stream)
        etag = f'{stream.etag[:-1]}{GZIPPED}"'
        return Response(packed, headers={**headers, "etag": etag, "content-encoding": "gzip"})
    status = 206 if stream.content_range else 200
    headers["content-length"] = str(stream.size)
    if request.method == "HEAD":
        await blocking(threads, _drop, stream)
        return Response(status_code=status, headers=headers)
    return _ObjectResponse(stream, status, headers, threads)


def _headers(path: str, stream: ObjectStream) -> dict[str, str]:
    headers = {
        "content-type": media_type(path),
        "etag": stream.etag,
        "last-modified": http_date(stream.modified),
        "cache-control": stream.cache_control or cache_control(path),
        "accept-ranges": "bytes",
    }
    return headers | {"vary": "accept-encoding"} if is_compressible(path) else headers


def _is_to_shrink(request: Request, path: str, stream: ObjectStream) -> bool:
    return (
        is_compressible(path)
        and 0 < stream.size <= _SMALL
        and accepts_gzip(request.headers.get("accept-encoding"))
    )


def _gzipped(stream: ObjectStream) -> bytes:
    with stream:
        return gzip.compress(b"".join(stream.iter_chunks()), compresslevel=5, mtime=0)


def _drop(stream: ObjectStream) -> None:
    """Close it; one that is nearly at its end is read first, which keeps its connection."""
    with stream:
        if stream.size <= _DRAIN:
            for _ in stream.iter_chunks():
                pass


class _ObjectResponse(StreamingResponse):
    """An object's bytes as they come from storage; closed also when the viewer leaves early."""

    def __init__(
        self,
        stream: ObjectStream,
        status: int,
        headers: dict[str, str],
        threads: CapacityLimiter,
    ) -> None:
        super().__init__(iter(()), status_code=status, headers=headers)
        self._stream = stream
        self._threads = threads

    async def stream_response(self, send: Send) -> None:
        """Send the bytes; whatever ends them early ends the connection, too."""
        start = {"type": "http.response.start", "status": self.status_code}
        try:
            await send({**start, "headers": self.raw_headers})
            chunks = self._stream.iter_chunks()
            while chunk := await blocking(self._threads, next, chunks, b""):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            with CancelScope(shield=True):
                await blocking(self._threads, self._stream.close)
