"""Checks a finished video the way a player meets it: over HTTP, from its playback URLs alone."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from farm.client import Client, Video
from farm.named import UnreadableError, named_by_manifest, named_by_playlist
from media.binaries import Tools
from media.command import Command
from media.errors import RunError
from media.process import Progress, run

#: Objects fetched at once.
_READERS: Final = 4
#: Seconds by which the length decoded may differ from the source's.
_TOLERANCE: Final = 0.3
#: Seconds for decoding, to begin with and per second of film.
_PATIENCE: Final = (60.0, 4.0)


class CheckFailedError(Exception):
    """What was published is not right; the message says what was found."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was read back."""

    playlists: int
    objects: int
    #: Bytes of media, each object once.
    size: int
    #: Seconds of film that HLS and DASH decode to.
    hls_length: float
    dash_length: float


def read_back(client: Client, tools: Tools, video: Video) -> Findings:
    """Read everything a video's playback URLs lead to. Raises :class:`CheckFailedError`."""
    playback = video["playback"]
    try:
        playlists, objects = _walk(client, playback["hls"], playback["dash"])
    except UnreadableError as error:
        raise CheckFailedError(str(error)) from error
    size = _fetch_all(client, objects)
    _check_pictures(client, playback)
    lengths = [_decode(tools, playback[kind], video) for kind in ("hls", "dash")]
    return Findings(playlists, len(objects), size, *lengths)


def _walk(client: Client, hls: str, dash: str) -> tuple[int, frozenset[str]]:
    """How many playlists there are, and the media they and the manifest name."""
    master = named_by_playlist(hls, client.fetch(hls).text)
    named = [named_by_playlist(url, client.fetch(url).text) for url in sorted(master.playlists)]
    by_hls = frozenset().union(*(each.objects for each in named))
    by_dash = named_by_manifest(dash, client.fetch(dash).text).objects
    if not by_dash <= by_hls:
        raise UnreadableError(f"{dash} names what no playlist does: {min(by_dash - by_hls)}")
    return 1 + len(named), by_hls


def _fetch_all(client: Client, urls: Iterable[str]) -> int:
    """Bytes of the objects, all of which are there and hold something."""

    def size(url: str) -> int:
        found = len(client.fetch(url).content)
        if not found:
            raise CheckFailedError(f"{url} is empty")
        return found

    with ThreadPoolExecutor(_READERS) as pool:
        return sum(pool.map(size, sorted(urls)))


def _check_pictures(client: Client, playback: dict[str, str | None]) -> None:
    if playback["poster"]:
        poster = client.fetch(playback["poster"])
        if poster.headers.get("content-type") != "image/jpeg" or poster.content[:2] != b"\xff\xd8":
            raise CheckFailedError(f"{playback['poster']} is no JPEG")
    if playback["storyboard"] and not client.fetch(playback["storyboard"]).text.startswith(
        "WEBVTT"
    ):
        raise CheckFailedError(f"{playback['storyboard']} is no WebVTT")


def _decode(tools: Tools, url: str, video: Video) -> float:
    """Seconds of film that ffmpeg decodes from ``url``, as many as the source says it has."""
    said = video["source"]["duration"]
    expected = float(said or 0.0)
    reached = 0.0

    def note(progress: Progress) -> None:
        nonlocal reached
        reached = progress.out_time or reached

    outputs = ("-map", "0:v:0?", "-map", "0:a:0?", "-f", "null", "-")
    command = Command(("-i", url, *outputs), _PATIENCE[0] + _PATIENCE[1] * expected)
    try:
        run(tools, command, sinks={}, on_progress=note)
    except RunError as error:
        raise CheckFailedError(f"ffmpeg does not decode {url}: {error}") from error
    if not reached or (said is not None and abs(reached - expected) > _TOLERANCE):
        raise CheckFailedError(f"{url} lasts {reached:.2f} s, the source {expected:.2f} s")
    return reached
