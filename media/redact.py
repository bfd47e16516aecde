"""Presigned URLs are keys to the storage: their query strings are never shown or logged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: Both take time in proportion to the text, whatever is in it: a file may have ffmpeg say anything.
_QUERY: Final = re.compile(r"(\b\w+://[^\s?'\"]+)(\?[^\s'\"]*)?")
_USER: Final = re.compile(r"(\b\w+://)[^\s/@'\"]+@")


def redact(text: str) -> str:
    """``text`` with ``?…`` for the query of every URL, and without user names in them."""
    return _USER.sub(r"\1…@", _QUERY.sub(_without_query, text))


def _without_query(found: re.Match[str]) -> str:
    return f"{found[1]}?…" if found[2] else found[1]


def redact_all(texts: Iterable[str]) -> tuple[str, ...]:
    """Each of ``texts``, redacted."""
    return tuple(redact(text) for text in texts)
