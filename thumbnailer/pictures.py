"""Poster and storyboard of a film, from one or two runs of ffmpeg."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from media.command import Command
from thumbnailer.commands import POSTERS, TILES, TIMES, Film, pictures_command, poster_size
from thumbnailer.errors import NoPictureError
from thumbnailer.poster import PosterPicker
from thumbnailer.storyboard import (
    MAX_TILES,
    Layout,
    compose,
    filled,
    interval_for,
    layout_for,
    storyboard_json,
    webvtt,
)

#: What is called with each piece of a pipe's output.
Sink = Callable[[bytes], None]

#: Starts ffmpeg with its outputs connected to the sinks, and returns when it has ended well.
Runner = Callable[[Command, Mapping[str, Sink]], object]

#: Pixels of a whole film that may be decoded for pictures where key frames are too few: about
#: five seconds of work of one core.
_AFFORDABLE: Final = 1_500_000_000

#: Frames per second assumed where the number of frames is unknown.
_ASSUMED_RATE: Final = 30

#: Seconds from tile to tile of a film of unknown length, and the length that is covered.
_UNKNOWN_INTERVAL: Final = Fraction(10)
_UNKNOWN_DURATION: Final = MAX_TILES * _UNKNOWN_INTERVAL


@dataclass(frozen=True, slots=True)
class Pictures:
    """What viewers fetch: JPEG, WebVTT and JSON, and the layout that manifests state."""

    poster: bytes
    sheets: tuple[bytes, ...]
    vtt: str
    json: str
    layout: Layout


def make_pictures(run: Runner, film: Film, *, deadline: float) -> Pictures:
    """Make them all. ``deadline`` is in seconds for each of at most two runs.

    Key frames are used, unless they are few and the film is short enough to be decoded.
    Raises :class:`NoPictureError`, and whatever ``run`` raises.
    """
    duration = film.duration or _UNKNOWN_DURATION
    interval = interval_for(duration) if film.duration else _UNKNOWN_INTERVAL
    layout = layout_for(film.width, film.height, duration, interval)
    picker = PosterPicker(*poster_size(film))
    tiles = _taken(run, film, layout, picker, key_frames=True, deadline=deadline)
    if len(tiles) * 2 <= layout.tiles and _is_affordable(film):
        tiles = _taken(run, film, layout, picker, key_frames=False, deadline=deadline) or tiles
    poster = picker.poster()
    if not tiles or poster is None:
        raise NoPictureError("not one picture of the film could be decoded")
    if film.duration is None:
        end = (max(tiles) + 1) * interval
        layout = layout_for(film.width, film.height, end, interval)
    return Pictures(
        poster=poster,
        sheets=tuple(compose(filled(tiles, layout), layout)),
        vtt=webvtt(layout),
        json=storyboard_json(layout),
        layout=layout,
    )


def _is_affordable(film: Film) -> bool:
    if film.duration is None:
        return False
    frames = film.frames or film.duration * _ASSUMED_RATE
    return frames * film.width * film.height <= _AFFORDABLE


def _taken(
    run: Runner,
    film: Film,
    layout: Layout,
    picker: PosterPicker,
    *,
    key_frames: bool,
    deadline: float,
) -> dict[int, bytes]:
    """Raw RGB pictures by tile number; candidates for the poster go to the picker."""
    tiles: list[bytes] = []
    times = _Times()
    width, height = poster_size(film)
    sinks = {
        TILES: _Frames(layout.tile_width * layout.tile_height * 3, tiles.append).feed,
        POSTERS: _Frames(width * height * 3, picker.offer).feed,
        TIMES: times.feed,
    }
    run(pictures_command(film, layout, key_frames=key_frames, deadline=deadline), sinks)
    made: dict[int, bytes] = {}
    for seconds, data in zip(times.seconds(), tiles, strict=False):
        made.setdefault(layout.bucket(seconds - film.zero), data)
    return made


class _Frames:
    """Cuts a pipe of raw video into pictures."""

    def __init__(self, size: int, take: Callable[[bytes], None]) -> None:
        self._size = size
        self._take = take
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= self._size:
            picture = bytes(memoryview(self._buffer)[: self._size])
            del self._buffer[: self._size]
            self._take(picture)


class _Times:
    """Reads the lines ``number time unit`` that ffmpeg writes before it encodes a picture."""

    def __init__(self) -> None:
        self._text = bytearray()

    def feed(self, data: bytes) -> None:
        self._text += data

    def seconds(self) -> list[Fraction]:
        """The pictures' times, in order."""
        rows = [line.split() for line in self._text.decode("ascii", "replace").splitlines()]
        return [int(row[1]) * Fraction(row[2]) for row in rows if len(row) == 3]
