"""Rungs: by displayed height, even, never larger than the source."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transcoder.ladder import ladder, level
from transcoder.profile import load_profile

VIDEO = load_profile().video
SIDE = st.integers(min_value=16, max_value=8192)


@pytest.mark.parametrize(
    ("size", "rungs"),
    [
        ((1920, 1080), ["1080p 1920", "720p 1280", "480p 854", "360p 640"]),
        ((1080, 720), ["720p 1080", "480p 720", "360p 540"]),
        ((1080, 1920), ["1440p 810", "1080p 608", "720p 406", "480p 270", "360p 202"]),
        ((3026, 1386), ["1080p 2358", "720p 1572", "480p 1048", "360p 786"]),
        ((256, 144), ["144p 256"]),
        ((161, 121), ["120p 160"]),
        ((1279, 720), ["720p 1278", "480p 852", "360p 640"]),
    ],
)
def test_rungs_follow_the_displayed_size(size: tuple[int, int], rungs: list[str]) -> None:
    made = ladder(VIDEO, *size, Fraction(25))
    assert [f"{rung.name} {rung.width}" for rung in made] == rungs
    assert all(rung.name == f"{rung.height}p" for rung in made)


@settings(deadline=None)  # the machine may be busy
@given(SIDE, SIDE)
def test_no_rung_is_odd_or_larger_than_the_source(width: int, height: int) -> None:
    made = ladder(VIDEO, width, height, Fraction(30))
    assert made
    assert list(made) == sorted(made, key=lambda rung: -rung.height)
    for rung in made:
        assert rung.width % 2 == rung.height % 2 == 0
        assert 2 <= rung.width <= width
        assert 2 <= rung.height <= height


def test_fast_films_get_half_as_much_again() -> None:
    slow, fast = (ladder(VIDEO, 640, 360, Fraction(rate))[0] for rate in (30, 60))
    assert (fast.maxrate, fast.bufsize) == (slow.maxrate * 3 // 2, slow.bufsize * 3 // 2)


@pytest.mark.parametrize(
    ("width", "height", "rate", "maxrate", "expected"),
    [
        (640, 360, 30, 800_000, "3.0"),
        (1280, 720, 30, 3_000_000, "3.1"),
        (1920, 1080, 30, 5_500_000, "4.0"),
        (1920, 1080, 30, 30_000_000, "4.1"),
        (1920, 1080, 60, 8_000_000, "4.2"),
        (3840, 2160, 60, 24_000_000, "5.2"),
        (7680, 360, 30, 800_000, "5.1"),
    ],
)
def test_levels_are_those_of_the_standard(
    width: int, height: int, rate: int, maxrate: int, expected: str
) -> None:
    assert level(width, height, Fraction(rate), maxrate) == expected
