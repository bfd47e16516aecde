"""Identifiers: sortable by creation time, safe in keys and URLs, impossible to guess."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PATTERN: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")


def new_video_id(now: float | None = None) -> str:
    """A ULID in lower case: 48 bits of milliseconds since 1970, then 80 random bits."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    number = milliseconds << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_video_id(text: str) -> bool:
    """Whether ``text`` has the form of an id; anything else must not come near a key."""
    return _PATTERN.fullmatch(text) is not None


def new_run_id() -> str:
    """One attempt at one part; every object the attempt writes carries it."""
    return secrets.token_hex(6)
