"""A reader of playlists and manifests that shares nothing with the code that writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)(?:,|$)')
_DASH = {"d": "urn:mpeg:dash:schema:mpd:2011"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment, or a byte range (offset, size) of one, that a playlist names."""

    url: str
    #: Seconds.
    start: Fraction
    duration: Fraction
    range: tuple[int, int] | None = None


@dataclass(slots=True)
class MediaPlaylist:
    """A media playlist."""

    url: str
    tags: dict[str, str] = field(default_factory=dict)
    init: str = ""
    pieces: list[Piece] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return "EXT-X-ENDLIST" in self.tags

    @property
    def duration(self) -> Fraction:
        return sum((piece.duration for piece in self.pieces), Fraction(0))

    @property
    def starts(self) -> list[Fraction]:
        return [piece.start for piece in self.pieces]

    @property
    def named(self) -> set[str]:
        return {self.init, *(piece.url for piece in self.pieces)}


@dataclass(frozen=True, slots=True)
class Named:
    """A playlist that the multivariant playlist names, with its attributes."""

    url: str
    attributes: dict[str, str]


@dataclass(slots=True)
class Multivariant:
    """A multivariant playlist."""

    variants: list[Named] = field(default_factory=list)
    iframes: list[Named] = field(default_factory=list)
    audio: list[Named] = field(default_factory=list)

    @property
    def media(self) -> set[str]:
        """Playlists of pictures and of sound."""
        return {named.url for named in (*self.variants, *self.audio)}

    @property
    def named(self) -> set[str]:
        return self.media | {named.url for named in self.iframes}


def multivariant(url: str, text: str) -> Multivariant:
    """Read it, strictly."""
    lines = _lines(text)
    found = Multivariant()
    pending: dict[str, str] | None = None
    for line in lines:
        name, _, value = line.partition(":")
        if not line.startswith("#"):
            assert pending is not None, f"{line} has no EXT-X-STREAM-INF"
            found.variants.append(Named(urljoin(url, line), pending))
            pending = None
        elif name == "#EXT-X-STREAM-INF":
            pending = _attributes(value)
        elif name in ("#EXT-X-I-FRAME-STREAM-INF", "#EXT-X-MEDIA"):
            attributes = _attributes(value)
            named = Named(urljoin(url, attributes["URI"]), attributes)
            (found.audio if name == "#EXT-X-MEDIA" else found.iframes).append(named)
    assert pending is None
    assert found.variants
    return found


def media_playlist(url: str, text: str) -> MediaPlaylist:
    """Read it, strictly."""
    found = MediaPlaylist(url)
    duration: Fraction | None = None
    span: tuple[int, int] | None = None
    at = Fraction(0)
    for line in _lines(text):
        name, _, value = line.removeprefix("#").partition(":")
        if not line.startswith("#"):
            assert duration is not None, f"{line} has no EXTINF"
            found.pieces.append(Piece(urljoin(url, line), at, duration, span))
            at, duration, span = at + duration, None, None
        elif name == "EXTINF":
            duration = Fraction(value.split(",")[0])
        elif name == "EXT-X-BYTERANGE":
            size, offset = value.split("@")
            span = int(offset), int(size)
        elif name == "EXT-X-MAP":
            assert not found.init, "two init segments"
            found.init = urljoin(url, _attributes(value)["URI"])
        else:
            assert name not in found.tags, f"{name} stands twice"
            found.tags[name] = value
    return found


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    assert lines[0] == "#EXTM3U"
    assert lines[-1] == "", "the last line is cut off"
    return lines[1:-1]


def _attributes(text: str) -> dict[str, str]:
    found = _ATTRIBUTE.findall(text)
    assert ",".join(f"{name}={value}" for name, value in found) == text
    return {name: value.strip('"') for name, value in found}


@dataclass(frozen=True, slots=True)
class Representation:
    """A rendition in the manifest."""

    attributes: dict[str, str]
    init: str
    pieces: list[Piece]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A static MPD of one period."""

    duration: Fraction
    representations: dict[str, Representation]
    #: Whether there are tiled pictures.
    thumbnails: bool

    @property
    def named(self) -> set[str]:
        listed = self.representations.values()
        return {each.init for each in listed} | {p.url for each in listed for p in each.pieces}


def manifest(url: str, text: str) -> Manifest:
    """Read it, strictly."""
    root = ET.fromstring(text)
    assert root.get("type") == "static"
    seconds = re.fullmatch(r"PT([\d.]+)S", root.attrib["mediaPresentationDuration"])
    assert seconds
    (period,) = root.findall("d:Period", _DASH)
    found, thumbnails = {}, False
    for adaptation in period.findall("d:AdaptationSet", _DASH):
        if adaptation.get("contentType") == "image":
            thumbnails = True
            continue
        for element in adaptation.findall("d:Representation", _DASH):
            attributes = {**adaptation.attrib, **element.attrib}
            found[attributes["id"]] = _representation(url, element, attributes)
    return Manifest(Fraction(seconds[1]), found, thumbnails)


def _representation(url: str, element: ET.Element, attributes: dict[str, str]) -> Representation:
    (segments,) = element.findall("d:SegmentList", _DASH)
    scale = int(segments.attrib["timescale"])
    (init,) = segments.findall("d:Initialization", _DASH)
    times: list[tuple[int, int]] = []
    for entry in segments.findall("d:SegmentTimeline/d:S", _DASH):
        start, length = int(entry.attrib["t"]), int(entry.attrib["d"])
        orders = range(int(entry.get("r", "0")) + 1)
        times += [(start + order * length, length) for order in orders]
    urls = [s.attrib["media"] for s in segments.findall("d:SegmentURL", _DASH)]
    pieces = [
        Piece(urljoin(url, name), Fraction(start, scale), Fraction(length, scale))
        for name, (start, length) in zip(urls, times, strict=True)
    ]
    return Representation(attributes, urljoin(url, init.attrib["sourceURL"]), pieces)
