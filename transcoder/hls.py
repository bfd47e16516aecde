"""HLS playlists as text, after RFC 8216 (bis) and Apple's authoring specification.

Media playlists grow: the publisher appends to the text it finds in storage, which must give the
same result however often it is done. Durations are differences of rounded times, so that their sum
stays exact over any length. Paths are those below ``play/``; playlists name them relatively.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from posixpath import dirname, relpath
from typing import Final

from transcoder.errors import PlaylistError
from transcoder.multivariant import Stream, multivariant
from transcoder.segments import Segment, TrackSegments

__all__ = [
    "PlaylistError",
    "Stream",
    "append_segments",
    "close_playlist",
    "growing_playlist",
    "iframe_playlist",
    "iframes_path",
    "media_playlist",
    "multivariant",
    "playlist_path",
]

#: Names EXT-X-MAP in playlists of more than key frames (RFC 8216, 7), and what fMP4 is known by.
_VERSION: Final = 7
_EVENT: Final = "#EXT-X-PLAYLIST-TYPE:EVENT"
_VOD: Final = "#EXT-X-PLAYLIST-TYPE:VOD"
_END: Final = "#EXT-X-ENDLIST"
_MICRO: Final = 1_000_000


def playlist_path(generation: int, track: str) -> str:
    """Where a track's media playlist lies below ``play/``."""
    return f"{generation}/{track}.m3u8"


def iframes_path(generation: int, track: str) -> str:
    """Where a track's I-frame playlist lies below ``play/``."""
    return f"{generation}/{track}-iframes.m3u8"


def growing_playlist(path: str, track: TrackSegments, target_duration: int) -> str:
    """An EVENT playlist at ``path`` with the segments that there are so far."""
    return _text([*_head(path, track, target_duration), *_lines(path, track, track.segments)])


def media_playlist(path: str, track: TrackSegments, target_duration: int) -> str:
    """The complete VOD playlist at ``path``."""
    return close_playlist(growing_playlist(path, track, target_duration))


def append_segments(text: str, path: str, track: TrackSegments) -> str:
    """The playlist ``text`` at ``path`` with the segments that it does not name yet.

    Raises :class:`PlaylistError` where ``track`` has another init segment, or adds to a playlist
    that has ended: players would fail on either.
    """
    lines = text.splitlines()
    known = set(lines)
    new = [s for s in track.segments if _relative(s.path, path) not in known]
    if new and _map(path, track) not in known:
        raise PlaylistError(f"{path} has another init segment than {track.init_path}")
    if new and _END in known:
        raise PlaylistError(f"{path} has ended; {new[0].path} comes too late")
    return _text([*lines, *_lines(path, track, new)])


def close_playlist(text: str) -> str:
    """The playlist, complete: nothing follows. Closing twice changes nothing."""
    lines = [_VOD if line == _EVENT else line for line in text.splitlines()]
    return _text(lines if _END in lines else [*lines, _END])


def iframe_playlist(path: str, track: TrackSegments, target_duration: int) -> str:
    """The complete playlist at ``path`` of a track's key frames, for scrubbing (RFC 8216, 4.3.3.6).

    Each entry is the range from a fragment's ``moof`` to the end of its first picture.
    """
    head = _head(path, track, target_duration, "#EXT-X-I-FRAMES-ONLY")
    lines: list[str] = []
    for segment in track.segments:
        start = Fraction(track.presented(segment)[0], track.timescale)
        for key in segment.keyframes:
            end = start + key.duration
            lines += [
                f"#EXTINF:{_extinf(start, end)},",
                f"#EXT-X-BYTERANGE:{key.size}@{key.offset}",
                _relative(segment.path, path),
            ]
            start = end
    return close_playlist(_text([*head, *lines]))


def _head(path: str, track: TrackSegments, target_duration: int, *extra: str) -> list[str]:
    return [
        "#EXTM3U",
        f"#EXT-X-VERSION:{_VERSION}",
        f"#EXT-X-TARGETDURATION:{target_duration}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        _EVENT,
        *extra,
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-START:TIME-OFFSET=0",
        _map(path, track),
    ]


def _map(path: str, track: TrackSegments) -> str:
    return f'#EXT-X-MAP:URI="{_relative(track.init_path, path)}"'


def _lines(path: str, track: TrackSegments, segments: Iterable[Segment]) -> list[str]:
    lines: list[str] = []
    for segment in segments:
        start, end = (Fraction(ticks, track.timescale) for ticks in track.presented(segment))
        lines += [f"#EXTINF:{_extinf(start, end)},", _relative(segment.path, path)]
    return lines


def _extinf(start: Fraction, end: Fraction) -> str:
    micros = round(end * _MICRO) - round(start * _MICRO)
    return f"{micros // _MICRO}.{micros % _MICRO:06}"


def _relative(path: str, playlist: str) -> str:
    return relpath(path, dirname(playlist) or ".")


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
