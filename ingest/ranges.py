"""What a viewer's conditions and ranges ask for (RFC 9110, sections 13 and 14). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

#: Appended to the ETag of a compressed answer, which is a different representation.
GZIPPED: Final = "-gzip"

_RANGE: Final = re.compile(
    r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE
)
_ETAG: Final = re.compile(r'(?:W/)?("[^"]*")')


class EmptySuffixError(ValueError):
    """The last 0 bytes were asked for, which nothing can satisfy."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``first`` to ``last``, both included; negative ``first``: that many from the end."""

    first: int
    last: int | None = None


def parse_range(value: str | None) -> ByteRange | None:
    """The one range asked for; None where there is none, or one that has to be ignored.

    Several ranges are ignored, too, which RFC 9110 allows. Raises EmptySuffixError.
    """
    match = _RANGE.fullmatch(value or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        if not int(last):
            raise EmptySuffixError("a suffix of 0 bytes")
        return ByteRange(-int(last))
    if last and int(last) < int(first):
        return None
    return ByteRange(int(first), int(last) if last else None)


def is_unchanged(headers: Mapping[str, str], etag: str, modified: datetime) -> bool:
    """Whether the viewer has it already: If-None-Match, or without that If-Modified-Since."""
    tags = headers.get("if-none-match")
    if tags is not None:
        known = {_plain(tag) for tag in _ETAG.findall(tags)}
        return tags.strip() == "*" or _plain(etag) in known
    since = _date(headers.get("if-modified-since"))
    return since is not None and _whole(modified) <= since


def range_holds(if_range: str | None, etag: str, modified: datetime) -> bool:
    """Whether If-Range allows a range of this version; only an exact match does."""
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == etag
    return _date(if_range) == _whole(modified)


def http_date(moment: datetime) -> str:
    """The moment as Last-Modified wants it."""
    return format_datetime(_whole(moment), usegmt=True)


def accepts_gzip(value: str | None) -> bool:
    """Whether Accept-Encoding names gzip without forbidding it."""
    for item in (value or "").lower().split(","):
        coding, _, weight = item.replace(" ", "").partition(";")
        if coding == "gzip":
            return not re.fullmatch(r"q=0(\.0*)?", weight)
    return False


def _plain(etag: str) -> str:
    return etag.strip('"').removesuffix(GZIPPED)


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _date(value: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed
