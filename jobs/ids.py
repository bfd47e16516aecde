"""Identifiers: sortable by creation time, safe in keys and URLs, impossible to guess."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
#: Characters of an id that tell the time; it has two bits more than there are.
TIME_CHARS: Final = 10
_PATTERN: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{26}")
_LETTER: Final = re.compile(rf"{_PATTERN.pattern}-[1-9][0-9]{{0,8}}-[a-z0-9-]{{1,40}}")


def new_video_id(now: float | None = None) -> str:
    """A ULID in lower case: 48 bits of milliseconds since 1970, then 80 random bits."""
    milliseconds = int((time.time() if now is None else now) * 1000)
    number = milliseconds << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def time_of(video_id: str) -> int:
    """Milliseconds since 1970 at which the video was announced."""
    number = 0
    for letter in video_id[:TIME_CHARS]:
        number = number << 5 | _ALPHABET.index(letter)
    return number


def beginning(milliseconds: int) -> str:
    """What ids of that time begin with."""
    return "".join(_ALPHABET[milliseconds >> shift & 31] for shift in range(45, -1, -5))


def is_video_id(text: str) -> bool:
    """Whether ``text`` has the form of an id; anything else must not come near a key."""
    return _PATTERN.fullmatch(text) is not None


def is_letter_id(text: str) -> bool:
    """Whether ``text`` has the form of a dead letter's id, as :mod:`jobs.letters` makes it."""
    return _LETTER.fullmatch(text) is not None


def new_run_id() -> str:
    """One attempt at one part; every object the attempt writes carries it."""
    return secrets.token_hex(6)
