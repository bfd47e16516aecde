"""Hears of every request to the storage: which call, how long until its answer, how it failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import local
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

#: Takes the operation (``PutObject``), seconds from sending to the head of the answer, and the
#: code of the error, S3's own or the exception's name, or None.
Watch = Callable[[str, float, str | None], None]

#: Answers that say how things are: not there, changed meanwhile, a lost race, nothing in the range.
_ANSWERS: Final = frozenset({304, 404, 409, 412, 416})


def watched(s3: S3Client, watch: Watch, clock: Callable[[], float] = time.perf_counter) -> None:
    """Tell ``watch`` of every try of every request of the client.

    Each is sent, and its answer parsed, in one thread, so that there is one beginning for each.
    """
    begun = local()

    def before(**_: object) -> None:
        begun.at = clock()

    def after(
        event_name: str,
        parsed_response: dict[str, Any] | None,
        exception: Exception | None,
        **_: object,
    ) -> None:
        now = clock()
        seconds = now - getattr(begun, "at", now)
        watch(event_name.rpartition(".")[2], seconds, _code(parsed_response, exception))

    s3.meta.events.register_last("before-send.s3", before)
    s3.meta.events.register_last("response-received.s3", after)


def _code(parsed: dict[str, Any] | None, exception: Exception | None) -> str | None:
    if exception is not None:
        return type(exception).__name__
    parsed = parsed or {}
    status = parsed.get("ResponseMetadata", {}).get("HTTPStatusCode", 200)
    if status < 300 or status in _ANSWERS:
        return None
    return str(parsed.get("Error", {}).get("Code") or status)
