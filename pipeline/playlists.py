"""Writing playlists and manifests: while they grow by compare-and-swap, so that none shrinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from storage import layout
from storage.errors import NotFoundError
from storage.objects import ObjectStore

MASTER: Final = "master.m3u8"
MANIFEST: Final = "manifest.mpd"
HLS_TYPE: Final = "application/vnd.apple.mpegurl"
DASH_TYPE: Final = "application/dash+xml"

#: A playlist may be asked for again until it has ended, and names nothing that has to be fresh
#: afterwards; caches revalidate it by its ETag.
_CACHE: Final = "no-cache"

#: Rounds of compare-and-swap on one playlist. Losing all of them leaves the append to the
#: next call, which comes with the next part.
_TRIES: Final = 5


def write_text(
    store: ObjectStore, video_id: str, path: str, text: str, kind: str = HLS_TYPE
) -> None:
    """Store a complete playlist or manifest below ``play/``."""
    key = layout.play(video_id, path)
    store.put(key, text.encode(), content_type=kind, cache_control=_CACHE)


def etag_of(store: ObjectStore, video_id: str, path: str) -> str | None:
    """The ETag of a playlist below ``play/``; None where it is not there yet."""
    try:
        return store.head(layout.play(video_id, path)).etag
    except NotFoundError:
        return None


def swap_text(store: ObjectStore, video_id: str, path: str, text: str, etag: str | None) -> bool:
    """Store a playlist unless it is another one than that of ``etag``; False if so.

    True where the very same text is there: as after a write whose answer was lost, which the client
    library repeats and is then refused.
    """
    key, body = layout.play(video_id, path), text.encode()
    return _stored(store, key, body, etag) or _is(store, key, body)


def rewrite(
    store: ObjectStore, video_id: str, path: str, change: Callable[[str | None], str]
) -> bool:
    """Replace a playlist by ``change(text)``, ``None`` standing for one that is not there yet.

    False where it changed under us too often.
    """
    key = layout.play(video_id, path)
    return any(_swap(store, key, change) for _ in range(_TRIES))


def _swap(store: ObjectStore, key: str, change: Callable[[str | None], str]) -> bool:
    try:
        stored = store.get(key)
    except NotFoundError:
        return _stored(store, key, change(None).encode(), None)
    body = change(stored.body.decode()).encode()
    if body == stored.body:
        return True
    return _stored(store, key, body, stored.etag)


def _is(store: ObjectStore, key: str, body: bytes) -> bool:
    try:
        return store.get(key).body == body
    except NotFoundError:
        return False


def _stored(store: ObjectStore, key: str, body: bytes, etag: str | None) -> bool:
    if etag is None:
        new = store.create(key, body, content_type=HLS_TYPE, cache_control=_CACHE)
    else:
        new = store.replace(key, body, etag, content_type=HLS_TYPE, cache_control=_CACHE)
    return new is not None
