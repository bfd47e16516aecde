"""Errors turned into problems. Whatever is raised, clients get one shape and no internals."""

from __future__ import annotations

from http import HTTPStatus

import redis
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from catalog.errors import (
    CatalogError,
    ContendedError,
    NewerSchemaError,
    UnknownLetterError,
    UnknownVideoError,
    UploadExpiredError,
)
from ingest.options import invalid
from ingest.problems import (
    BUSY,
    HTTP,
    INTERNAL,
    INVALID_REQUEST,
    MEDIA_TYPE,
    METHOD_NOT_ALLOWED,
    NEWER_VERSION,
    NOT_FOUND,
    QUEUE_UNAVAILABLE,
    STORAGE_FULL,
    STORAGE_UNAVAILABLE,
    UNKNOWN_LETTER,
    UNKNOWN_VIDEO,
    UPLOAD_EXPIRED,
    WRONG_STATE,
    Kind,
    RefusedError,
    body_of,
)
from jobs.states import IllegalTransitionError
from storage.errors import FullError, StorageError

_LOG = structlog.get_logger(__name__)

_BY_STATUS = {400: INVALID_REQUEST, 404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}


def answer(request: Request, refused: RefusedError) -> Response:
    """The problem as a response."""
    request_id = request.scope.get("state", {}).get("request_id")
    body = body_of(refused, request_id).model_dump_json(exclude_defaults=True)
    return Response(body, refused.kind.status, refused.headers, MEDIA_TYPE)


def refusal_of(error: Exception) -> RefusedError:
    """The refusal that says to a client what ``error`` means for it."""
    match error:
        case RefusedError():
            return error
        case RequestValidationError():
            return invalid(error.errors())
        case CatalogError():
            return _of_catalog(error)
        case IllegalTransitionError():
            return RefusedError(WRONG_STATE, f"Video {error.video_id} is {error.current}.")
        case redis.RedisError():
            return RefusedError(QUEUE_UNAVAILABLE, "A call to Redis failed.")
        case StorageError():
            return _of_storage(error)
        case HTTPException():
            return _of_status(error)
        case _:
            return RefusedError(INTERNAL, "The request ended with an unexpected error.")


def _of_catalog(error: CatalogError) -> RefusedError:
    match error:
        case UnknownVideoError():
            return RefusedError(UNKNOWN_VIDEO, f"There is no video {error.video_id}.")
        case UnknownLetterError():
            return RefusedError(UNKNOWN_LETTER, f"There is no dead letter {error.letter_id}.")
        case UploadExpiredError():
            return RefusedError(UPLOAD_EXPIRED, "Its time was up before the last byte was stored.")
        case NewerSchemaError():
            return RefusedError(NEWER_VERSION, "This process is too old to read it.")
        case ContendedError():
            return RefusedError(BUSY, "Others were changing the same video all the while.")
        case _:
            return RefusedError(INTERNAL, "The request ended with an unexpected error.")


def _of_storage(error: StorageError) -> RefusedError:
    if isinstance(error, FullError):
        return RefusedError(STORAGE_FULL, "The object storage refused a write for want of room.")
    return RefusedError(STORAGE_UNAVAILABLE, "A call to the object storage failed.")


def install(app: FastAPI) -> None:
    """Have every error that is expected answered as a problem."""
    expected: tuple[type[Exception], ...] = (
        RefusedError,
        RequestValidationError,
        UnknownVideoError,
        UnknownLetterError,
        UploadExpiredError,
        IllegalTransitionError,
        NewerSchemaError,
        ContendedError,
        redis.RedisError,
        StorageError,
        HTTPException,
    )
    for kind in expected:
        app.add_exception_handler(kind, _handle)


async def _handle(request: Request, error: Exception) -> Response:
    if isinstance(error, StorageError):
        _LOG.error("storage_failed", error=str(error))
    if isinstance(error, redis.RedisError):
        _LOG.error("redis_failed", error=str(error))
    return answer(request, refusal_of(error))


def _of_status(error: HTTPException) -> RefusedError:
    phrase = HTTPStatus(error.status_code).phrase
    other = Kind(error.status_code, HTTP, phrase, "See /docs.")
    kind = _BY_STATUS.get(error.status_code, other)
    return RefusedError(kind, f"{error.detail}.", headers=error.headers)
