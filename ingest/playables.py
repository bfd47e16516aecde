"""Which paths viewers may ask for, and what they are."""

from __future__ import annotations

import re
from typing import Final

PLAYLIST: Final = "application/vnd.apple.mpegurl"
MPD: Final = "application/dash+xml"
WEBVTT: Final = "text/vtt"
JSON: Final = "application/json"

_TYPES: Final = {
    "m3u8": PLAYLIST,
    "mpd": MPD,
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
    "vtt": WEBVTT,
    "json": JSON,
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
}
#: Text that shrinks to a tenth, and is fetched again and again while a playlist grows.
_COMPRESSIBLE: Final = frozenset({PLAYLIST, MPD, WEBVTT, JSON})
_IMMUTABLE: Final = frozenset({"m4s", "mp4"})

#: Every component begins with a letter or digit, so none is ``.`` or ``..``.
_PATH: Final = re.compile(
    r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,99}/){0,4}[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
)

REVALIDATE: Final = "no-cache"
FOREVER: Final = "public, max-age=31536000, immutable"


def is_playable_path(path: str) -> bool:
    """Whether the path could be one that the farm writes; no other comes near a key."""
    return _PATH.fullmatch(path) is not None and _extension(path) in _TYPES


def media_type(path: str) -> str:
    """The media type of a playable path."""
    return _TYPES[_extension(path)]


def is_compressible(path: str) -> bool:
    """Whether compressing it is worth the while."""
    return media_type(path) in _COMPRESSIBLE


def cache_control(path: str) -> str:
    """How long it may be kept, where the object itself does not say."""
    return FOREVER if _extension(path) in _IMMUTABLE else REVALIDATE


def _extension(path: str) -> str:
    return path.rsplit(".", 1)[-1]
