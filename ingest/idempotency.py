"""Uploads sent again with the same Idempotency-Key are not stored again.

The first request with a key creates a document, by If-None-Match, that names its video. Later ones
find the video accepted, and are answered with it; or still on its way, and are told to wait; or
given up on, and take the key over.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from catalog.errors import UnknownVideoError, UploadExpiredError
from ingest.config import IngestDeps
from ingest.options import UploadOptions
from ingest.problems import KEY_IN_USE, KEY_REUSED, RefusedError
from ingest.uploads import EXPIRES_IN
from jobs.records import InboxEntry, VideoRecord
from storage import layout
from storage.documents import create_document, replace_document

#: Characters of a key.
MAX_KEY: Final = 255


@dataclass(frozen=True, slots=True)
class Claim:
    """The id to store an upload under, or the video that the key stands for already."""

    video_id: str
    #: Where the claim is written; empty without a key.
    document: str = ""
    known: VideoRecord | None = None


def claim(deps: IngestDeps, key: str, options: UploadOptions, video_id: str) -> Claim:
    """Claim ``key`` for a new upload ``video_id``. Raises RefusedError, StorageError.

    The inbox entry comes first: a key whose video has none was given up on.
    """
    deps.catalog.receive(video_id, EXPIRES_IN)
    document = layout.idempotency(hashlib.sha256(key.encode()).hexdigest())
    wanted = {
        "video_id": video_id,
        "options": options.model_dump(mode="json"),
        "at": deps.clock().isoformat(),
    }
    created = create_document(deps.store, document, wanted)
    if created.won:
        return Claim(video_id, document)
    taken_over = False
    try:
        found = _again(deps, Claim(video_id, document), wanted, created.document, created.etag)
        taken_over = found.known is None
        return found
    finally:
        if not taken_over:
            deps.catalog.abandon(video_id)


def _again(
    deps: IngestDeps, claimed: Claim, wanted: dict[str, Any], present: dict[str, Any], etag: str
) -> Claim:
    if present["options"] != wanted["options"]:
        raise RefusedError(KEY_REUSED, "An upload with this key had other options.")
    first = str(present["video_id"])
    try:
        known = deps.catalog.load(first)
        # With a record all bytes are there; what may be missing is the acceptance.
        deps.catalog.confirm(first)
        return Claim(first, claimed.document, known)
    except (UnknownVideoError, UploadExpiredError):
        pass
    entry = deps.catalog.entry(first)
    waiting = entry is not None and not deps.catalog.is_expired(entry)
    if waiting or replace_document(deps.store, claimed.document, wanted, etag) is None:
        raise _in_use(deps, first, entry if waiting else None)
    return claimed


def _in_use(deps: IngestDeps, video_id: str, entry: InboxEntry | None) -> RefusedError:
    """Says, where it is known, when the key is free again should nobody send that upload any more.

    Whoever sent it may not know that it was cut off, as by the end of the farm's process.
    """
    detail = f"It is stored as video {video_id}."
    if entry is None or entry.expires_at is None:
        return RefusedError(KEY_IN_USE, detail)
    seconds = max(1, ceil((entry.expires_at - deps.clock()).total_seconds()))
    detail += f" Should it have been cut off, the key is free in {seconds} s."
    return RefusedError(KEY_IN_USE, detail, headers={"retry-after": str(seconds)})
