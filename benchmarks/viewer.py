"""What a viewer does and feels: fetch playlists and first segments, then play for a while.

Playing is arithmetic: a segment can be shown from the moment a playlist names it, and a viewer
whose next one is not named yet stalls. Real players see a growing playlist a little later, since
they ask for it once in a few seconds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final
from urllib.parse import urljoin

from benchmarks.farms import BenchmarkError
from farm.client import Client
from farm.errors import NotFoundError

#: Seconds between two looks at whether there is something to play, and between two looks at a
#: playlist that grows. Each costs the farm two reads.
_GLANCE: Final = 0.05
_RELOAD: Final = 0.2

_URI: Final = re.compile(r'URI="([^"]+)"')
_RATE: Final = re.compile(r"[:,]BANDWIDTH=(\d+)")


@dataclass(frozen=True, slots=True)
class Named:
    """Addresses of media playlists: those of pictures from the smallest to the largest."""

    pictures: tuple[str, ...]
    sound: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """One segment of a media playlist."""

    uri: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of film, and when (monotonic seconds) a playlist first named it."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Stalls:
    """How often, and for how many seconds in all, a viewer had to wait."""

    count: int
    seconds: float


def named(master: str) -> Named:
    """What a multivariant playlist names."""
    pictures: list[tuple[int, str]] = []
    sound: list[str] = []
    rate = 0
    for line in master.splitlines():
        if line.startswith("#EXT-X-STREAM-INF:"):
            rate = int(m[1]) if (m := _RATE.search(line)) else 0
        elif line.startswith("#EXT-X-MEDIA:") and (m := _URI.search(line)):
            sound.append(m[1])
        elif line and not line.startswith("#"):
            pictures.append((rate, line))
    return Named(tuple(uri for _, uri in sorted(pictures)), tuple(sound))


def init_segment(playlist: str) -> str | None:
    """The first initialisation segment of a media playlist."""
    lines = (line for line in playlist.splitlines() if line.startswith("#EXT-X-MAP:"))
    return next((m[1] for line in lines if (m := _URI.search(line))), None)


def segments(playlist: str) -> tuple[Listed, ...]:
    """What a media playlist names so far."""
    found: list[Listed] = []
    seconds = 0.0
    for line in playlist.splitlines():
        if line.startswith("#EXTINF:"):
            seconds = float(line.removeprefix("#EXTINF:").split(",")[0])
        elif line and not line.startswith("#"):
            found.append(Listed(line, seconds))
    return tuple(found)


def together(tracks: Sequence[Sequence[Stretch]]) -> tuple[Stretch, ...]:
    """Tracks that are played at once: a stretch can be shown once all of them have it."""
    ends = [tuple(accumulate(piece.seconds for piece in track)) for track in tracks]
    whole = min((track[-1] if track else 0.0 for track in ends), default=0.0)
    cuts = sorted({min(end, whole) for track in ends for end in track})
    pieces: list[Stretch] = []
    since = 0.0
    for cut in cuts:
        middle = (since + cut) / 2
        covering = [
            next(piece.at for piece, end in zip(track, until, strict=True) if end > middle)
            for track, until in zip(tracks, ends, strict=True)
            if cut > since
        ]
        if covering:
            pieces.append(Stretch(max(covering), cut - since))
        since = cut
    return tuple(pieces)


def stalls(pieces: Sequence[Stretch], began: float, most: float) -> Stalls:
    """Of a viewer who starts at ``began``, in the first ``most`` seconds of the film."""
    clock, played, count, waited = began, 0.0, 0, 0.0
    for piece in pieces:
        if played >= most:
            break
        if piece.at > clock:
            count, waited, clock = count + 1, waited + piece.at - clock, piece.at
        clock += piece.seconds
        played += piece.seconds
    return Stalls(count, waited)


class Viewer:
    """Watches one video of one farm."""

    def __init__(self, client: Client, video_id: str) -> None:
        self._client = client
        self._master = f"{client.url}/play/{video_id}/master.m3u8"

    def start(self, timeout: float = 120.0) -> float:
        """Wait for the first picture and sound; when (monotonic) their bytes were all here.

        Raises :class:`BenchmarkError` where they do not come, or a playlist names nothing.
        """
        deadline = time.monotonic() + timeout
        while (master := self._text(self._master)) is None:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"nothing to play within {timeout:g} s: {self._master}")
            time.sleep(_GLANCE)
        found = named(master)
        for uri in (*found.pictures, *found.sound):
            self._first_segment(urljoin(self._master, uri))
        return time.monotonic()

    def watch(self, most: float, timeout: float = 600.0) -> tuple[Stretch, ...]:
        """The first ``most`` seconds of the smallest pictures and the sound, as they are named."""
        found = named(self._text(self._master) or "")
        chosen = [urljoin(self._master, uri) for uri in (*found.pictures[:1], *found.sound[:1])]
        deadline = time.monotonic() + timeout
        logs: list[list[Stretch]] = [[] for _ in chosen]
        while time.monotonic() < deadline:
            done = [self._note(url, log, most) for url, log in zip(chosen, logs, strict=True)]
            if all(done):
                return together(logs)
            time.sleep(_RELOAD)
        raise BenchmarkError(f"{most:g} s of film were not there within {timeout:g} s")

    def _note(self, url: str, log: list[Stretch], most: float) -> bool:
        """Add what is new; whether that is enough, or all."""
        text, now = self._text(url) or "", time.monotonic()
        log += [Stretch(now, each.seconds) for each in segments(text)[len(log) :]]
        return "#EXT-X-ENDLIST" in text or sum(piece.seconds for piece in log) >= most

    def _first_segment(self, url: str) -> None:
        text = self._text(url) or ""
        first, init = segments(text)[:1], init_segment(text)
        if not first or init is None:
            raise BenchmarkError(f"a playlist that is named names no segment: {url}")
        for uri in (init, first[0].uri):
            if not self._client.fetch(urljoin(url, uri)).content:
                raise BenchmarkError(f"an empty segment: {urljoin(url, uri)}")

    def _text(self, url: str) -> str | None:
        try:
            return self._client.fetch(url).text
        except NotFoundError:
            return None
