"""Presigned URLs are keys to the storage: their query strings are never shown or logged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_QUERY: Final = re.compile(r"(\w+://[^\s?'\"]+)\?[^\s'\"]*")
_USER: Final = re.compile(r"(\w+://)[^\s/@'\"]+@")


def redact(text: str) -> str:
    """``text`` with ``?…`` for the query of every URL, and without user names in them."""
    return _USER.sub(r"\1…@", _QUERY.sub(r"\1?…", text))


def redact_all(texts: Iterable[str]) -> tuple[str, ...]:
    """Each of ``texts``, redacted."""
    return tuple(redact(text) for text in texts)
