"""One way to write an ETag."""

from __future__ import annotations


def quoted(etag: str) -> str:
    """The ETag in the quotes HTTP wants; some servers leave them out of some answers."""
    return f'"{etag.removeprefix("W/").strip(chr(34))}"'
