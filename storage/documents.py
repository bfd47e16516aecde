"""JSON documents that several processes write at once, and exactly one of them wins.

A conditional write lies a little: when the answer to it is lost, the client library's automatic
retry meets its own success and reports a conflict. So every document carries a nonce of its
writer; after a conflict it is read back, and one's own nonce means that the write was won.

What remains uncertain: a write whose answer was lost *and* which another writer has replaced
before the read-back is reported as a conflict. Callers re-read after a conflict anyway, and find
their change in what they read.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.errors import MalformedError, NotFoundError, UnavailableError
from storage.objects import ObjectStore

#: The field that holds the writer's nonce; callers never see it.
WRITER = "_writer"
CONTENT_TYPE = "application/json"
#: Documents that vanish between a refused write and its read-back.
TRIES = 4


@dataclass(frozen=True)
class Created:
    """What is stored now: the caller's document if ``won``, else the one that was first."""

    won: bool
    document: dict[str, Any]
    etag: str


def load_document(store: ObjectStore, key: str) -> tuple[dict[str, Any], str]:
    """The document and its ETag. Raises NotFoundError, MalformedError."""
    document, etag, _ = _load(store, key)
    return document, etag


def create_document(store: ObjectStore, key: str, payload: Mapping[str, Any]) -> Created:
    """Write the document unless there is one already; exactly one of many callers wins."""
    writer = _nonce()
    body = _encode(payload, writer)
    for _ in range(TRIES):
        etag = store.create(key, body, content_type=CONTENT_TYPE)
        if etag is not None:
            return Created(True, dict(payload), etag)
        try:
            document, etag, present = _load(store, key)
        except NotFoundError:
            continue
        return Created(present == writer, document, etag)
    detail = f"it existed and then did not, {TRIES} times in a row."
    raise UnavailableError("PutObject", store.bucket, store.prefix + key, "Conflict", detail)


def replace_document(
    store: ObjectStore, key: str, payload: Mapping[str, Any], etag: str
) -> str | None:
    """Write the document if it still has that ETag. Returns its new one, or None: re-read."""
    writer = _nonce()
    new = store.replace(key, _encode(payload, writer), etag, content_type=CONTENT_TYPE)
    if new is not None:
        return new
    try:
        _, present_etag, present = _load(store, key)
    except NotFoundError:
        return None
    return present_etag if present == writer else None


def _nonce() -> str:
    return secrets.token_hex(8)


def _encode(payload: Mapping[str, Any], writer: str) -> bytes:
    text = json.dumps({**payload, WRITER: writer}, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def _load(store: ObjectStore, key: str) -> tuple[dict[str, Any], str, str | None]:
    """The document without its nonce, the ETag, and the nonce."""
    stored = store.get(key)
    try:
        document = json.loads(stored.body)
        writer = document.pop(WRITER, None)
    except (ValueError, AttributeError, TypeError) as error:
        detail = f"{len(stored.body)} bytes are not a JSON object: {error}."
        raise MalformedError(
            "GetObject", store.bucket, store.prefix + key, "NotJson", detail
        ) from (error)
    return document, stored.etag, writer
