"""Every way in which a request is refused: one table of codes, and the error that carries a row.

Clients act on ``code``, which is stable; ``title`` and ``hint`` are for people, and may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: what the answer says however it came about."""

    status: int
    code: str
    title: str
    hint: str
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """The request ends here, with a problem of ``kind``. ``detail`` says what was the matter."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: tuple[dict[str, Any], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = {**kind.headers, **(headers or {})}
        self.errors = errors


class ProblemBody(BaseModel):
    """A problem as it is sent (RFC 9457). ``errors`` lists the fields that were not valid."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str
    request_id: str | None = None
    errors: tuple[dict[str, Any], ...] = ()


def body_of(error: RefusedError, request_id: str | None) -> ProblemBody:
    """What to answer."""
    kind = error.kind
    return ProblemBody(
        type=f"urn:reelfarm:problem:{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=error.detail,
        code=kind.code,
        hint=kind.hint,
        request_id=request_id,
        errors=error.errors,
    )


_SOON: Final = {"retry-after": "5"}
#: What is still being sent after the answer would be taken for the next request's bytes.
_HANG_UP: Final = {"connection": "close"}

EMPTY_UPLOAD = Kind(
    400,
    "empty_upload",
    "The upload has no bytes",
    "Send the file as the request's body, or as the form field `file`.",
)
BROKEN_OFF = Kind(
    400,
    "upload_broken_off",
    "The upload ended before it was complete",
    "Nothing of it was kept; send it again.",
)
MALFORMED_FORM = Kind(
    400,
    "malformed_form",
    "The form cannot be read",
    "Send multipart/form-data as RFC 7578 has it, with its boundary in the Content-Type.",
)
MISSING_FILE = Kind(
    400,
    "missing_file",
    "The form has no file",
    "Put the video into exactly one form field named `file`.",
)
UNAUTHORIZED = Kind(
    401,
    "unauthorized",
    "The token is missing or wrong",
    "Send `Authorization: Bearer …` with the token in the setting api_token.",
    {"www-authenticate": 'Bearer realm="reelfarm"'},
)
FOREIGN_HOST = Kind(
    403,
    "host_not_allowed",
    "This farm does not answer under that name",
    "Use a loopback address, or set api_token (and public_url) to serve others.",
)
FOREIGN_CLIENT = Kind(
    403,
    "loopback_only",
    "Without a token this farm serves this machine only",
    "Set api_token, and send it with every request.",
)
CROSS_ORIGIN = Kind(
    403,
    "cross_origin",
    "Pages of other origins may not change anything",
    "Call the API from your server, or from a page of the farm's own origin.",
)
NOT_FOUND = Kind(404, "not_found", "There is nothing here", "See /docs for what there is.")
UNKNOWN_VIDEO = Kind(
    404,
    "unknown_video",
    "There is no such video",
    "It was never accepted, or it has been deleted; GET /v1/videos lists those there are.",
)
UNKNOWN_LETTER = Kind(
    404,
    "unknown_dead_letter",
    "There is no such dead letter",
    "Its video was retried or deleted; GET /v1/farm/dead-letters lists those there are.",
)
UNKNOWN_POOL = Kind(
    404, "unknown_pool", "There is no such pool", "GET /v1/farm lists those there are."
)
UNKNOWN_HOST = Kind(
    404,
    "unknown_host",
    "No host of that name is known",
    "It has no workers at the moment, nor any to start; GET /v1/farm lists hosts with their pools.",
)
METHOD_NOT_ALLOWED = Kind(
    405, "method_not_allowed", "The method is not for this path", "See the Allow header, and /docs."
)
UPLOAD_STALLED = Kind(
    408,
    "upload_stalled",
    "The upload stood still for too long",
    "Nothing of it was kept; send it again over a steadier connection.",
    _HANG_UP,
)
UPLOAD_EXPIRED = Kind(
    408, "upload_expired", "The upload took too long", "Nothing of it was kept; send it again."
)
KEY_IN_USE = Kind(
    409,
    "idempotency_key_in_use",
    "An upload with this Idempotency-Key is under way",
    "Wait for its end, then send the request again to learn the outcome. Of an upload that was cut "
    "off, the key is free after five minutes at the most: Retry-After says when.",
    _SOON,
)
WRONG_STATE = Kind(
    409,
    "wrong_state",
    "The video is not in a state for that",
    "Cancel what is queued or processing; retry what has errored or was canceled.",
)
TOO_LARGE = Kind(
    413,
    "upload_too_large",
    "The upload is larger than this farm takes",
    "Send a smaller file, or raise the setting max_upload.",
)
CONTENT_ENCODED = Kind(
    415,
    "content_encoding_unsupported",
    "The body is compressed",
    "Send the bytes as they are, without Content-Encoding.",
)
RANGE_NOT_SATISFIABLE = Kind(
    416,
    "range_not_satisfiable",
    "The range begins behind the end",
    "Ask for a range within the size that Content-Range states.",
)
INVALID_REQUEST = Kind(
    422, "invalid_request", "The request is not valid", "See `errors`, and /docs."
)
UNKNOWN_PROFILE = Kind(
    422, "unknown_profile", "There is no such profile", "GET /v1/profiles lists those there are."
)
KEY_REUSED = Kind(
    422,
    "idempotency_key_reused",
    "The Idempotency-Key belongs to a different request",
    "Use a new key for every upload.",
)
INTERNAL = Kind(
    500,
    "internal_error",
    "Something went wrong here",
    "It is not your fault. The farm's log tells more under this request_id.",
)
URL_IMPORTS = Kind(
    501,
    "url_imports_unavailable",
    "Videos cannot be fetched from URLs yet",
    "Send the bytes as the request's body, or as the form field `file`.",
)
STORAGE_UNAVAILABLE = Kind(
    503,
    "storage_unavailable",
    "The object storage does not answer",
    "Try again in a moment; nothing was half done. Should it last: `reelfarm doctor` tells the "
    "farm's operator whether the storage is down or its disk full.",
    _SOON,
)
QUEUE_UNAVAILABLE = Kind(
    503,
    "queue_unavailable",
    "Redis does not answer",
    "Uploads and playback go on meanwhile. Try again in a moment. Should it last: `reelfarm "
    "doctor` tells the farm's operator why.",
    _SOON,
)
STORAGE_FULL = Kind(
    507,
    "storage_full",
    "The object storage has no room left",
    "Delete videos, or have the farm's operator give the storage more room; then send it again.",
)
NEWER_VERSION = Kind(
    503,
    "newer_version",
    "The video belongs to a newer version of the farm",
    "Try again in a moment: the farm is being upgraded. Should it last: have its operator upgrade "
    "this process, too.",
    _SOON,
)
BUSY = Kind(503, "busy", "Too much at once", "Try again in a moment.", _SOON)
HTTP = "http_error"
