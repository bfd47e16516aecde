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
        body = change(None).encode()
        return store.create(key, body, content_type=HLS_TYPE, cache_control=_CACHE) is not None
    body = change(stored.body.decode()).encode()
    if body == stored.body:
        return True
    etag = store.replace(key, body, stored.etag, content_type=HLS_TYPE, cache_control=_CACHE)
    return etag is not None
