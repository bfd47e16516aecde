"""What playlists and manifests name. Pure; as strict as a player with no patience."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

# Only manifests of the farm itself are read.
from xml.etree import ElementTree as ET

_ATTRIBUTE_URI: Final = re.compile(r'[:,]URI="([^"]+)"')
_DASH: Final = "{urn:mpeg:dash:schema:mpd:2011}"


class UnreadableError(Exception):
    """A playlist or manifest is not what it should be; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Named:
    """Absolute URLs: further playlists, and objects with media in them."""

    playlists: frozenset[str]
    objects: frozenset[str]


def named_by_playlist(url: str, text: str) -> Named:
    """What an HLS playlist at ``url`` names. Raises :class:`UnreadableError`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != "#EXTM3U":
        raise UnreadableError(f"{url} does not begin with #EXTM3U")
    multivariant = any(line.startswith("#EXT-X-STREAM-INF") for line in lines)
    if not multivariant and "#EXT-X-ENDLIST" not in lines:
        raise UnreadableError(f"{url} has no end")
    tags = (m.group(1) for line in lines if line[0] == "#" for m in _ATTRIBUTE_URI.finditer(line))
    plain = (line for line in lines if line[0] != "#")
    found = frozenset(urljoin(url, name) for name in (*tags, *plain))
    if not found:
        raise UnreadableError(f"{url} names nothing")
    return Named(found, frozenset()) if multivariant else Named(frozenset(), found)


def named_by_manifest(url: str, text: str) -> Named:
    """What a DASH manifest at ``url`` names. Raises :class:`UnreadableError`."""
    try:
        root = ET.fromstring(text)  # noqa: S314
    except ET.ParseError as error:
        raise UnreadableError(f"{url} is no XML: {error}") from error
    if root.tag != f"{_DASH}MPD":
        raise UnreadableError(f"{url} is no MPD but {root.tag}")
    base = url
    for element in root.findall(f"{_DASH}BaseURL"):
        base = urljoin(base, element.text or "")
    found = [
        element.get(attribute)
        for tag, attribute in (("SegmentURL", "media"), ("Initialization", "sourceURL"))
        for element in root.iter(f"{_DASH}{tag}")
    ]
    if not found or None in found:
        raise UnreadableError(f"{url} names no segments")
    return Named(frozenset(), frozenset(urljoin(base, name) for name in found if name))
