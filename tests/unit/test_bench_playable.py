"""What the benchmark of playing makes of playlists and times."""

from __future__ import annotations

import pytest

from benchmarks.playable import percentile
from benchmarks.viewer import (
    Listed,
    Stalls,
    Stretch,
    init_segment,
    named,
    segments,
    stalls,
    together,
)

MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="1",URI="1/audio-0.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=900,AVERAGE-BANDWIDTH=100,AUDIO="audio"
1/480p.m3u8
#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=800,BANDWIDTH=500,AUDIO="audio"
1/360p.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=9,URI="1/360p-iframes.m3u8"
"""

MEDIA = """#EXTM3U
#EXT-X-TARGETDURATION:6
#EXT-X-MAP:URI="360p-init-0123.mp4"
#EXTINF:2.00000,
r1/360p-00000.m4s
#EXTINF:6.00000,
r2/360p-00001.m4s
"""


def test_a_multivariant_playlist_names_pictures_from_the_smallest_and_sound() -> None:
    found = named(MASTER)
    assert found.pictures == ("1/360p.m3u8", "1/480p.m3u8")
    assert found.sound == ("1/audio-0.m3u8",)


def test_a_media_playlist_names_segments() -> None:
    assert init_segment(MEDIA) == "360p-init-0123.mp4"
    assert segments(MEDIA) == (Listed("r1/360p-00000.m4s", 2.0), Listed("r2/360p-00001.m4s", 6.0))
    assert init_segment("#EXTM3U\n") is None
    assert segments("#EXTM3U\n") == ()


def test_what_is_played_at_once_is_there_when_both_are() -> None:
    pictures = [Stretch(0, 2), Stretch(9, 6)]
    sound = [Stretch(1, 4), Stretch(5, 4), Stretch(30, 4)]
    assert together([pictures, sound]) == (Stretch(1, 2), Stretch(9, 2), Stretch(9, 4))
    assert together([pictures, []]) == ()


@pytest.mark.parametrize(
    ("times", "most", "expected"),
    [
        ((0, 0, 0), 60, Stalls(0, 0)),
        ((0, 2, 8), 60, Stalls(0, 0)),
        ((0, 5, 5), 60, Stalls(1, 3)),
        ((0, 5, 20), 60, Stalls(2, 12)),
        ((0, 5, 20), 8, Stalls(1, 3)),
    ],
)
def test_a_viewer_waits_for_what_is_not_there(
    times: tuple[float, ...], most: float, expected: Stalls
) -> None:
    film = [Stretch(at, seconds) for at, seconds in zip(times, (2, 6, 6), strict=True)]
    assert stalls(film, 0.0, most) == expected


def test_a_late_viewer_waits_less() -> None:
    assert stalls([Stretch(0, 2), Stretch(5, 6)], 4.0, 60.0) == Stalls(0, 0)


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(1, 0.95, 1), (12, 0.95, 12), (20, 0.95, 19), (12, 0.5, 6)]
)
def test_percentiles_are_values_that_were_measured(
    count: int, share: float, expected: float
) -> None:
    assert percentile([float(n) for n in range(count, 0, -1)], share) == expected
