"""Rungs: by displayed height, even, never larger than the source."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transcoder.ladder import ladder, level
from transcoder.profile import load_profile

VIDEO = load_profile().video
#: Rungs of the longest rows below, which go on.
_SHOWN = 5
SIDE = st.integers(min_value=16, max_value=8192)


@pytest.mark.parametrize(
    ("size", "rungs"),
    [
        ((1920, 1080), ["1080p 1920", "720p 1280", "480p 854", "360p 640", "240p 426"]),
        ((1080, 720), ["720p 1080", "480p 720", "360p 540", "240p 360"]),
        ((256, 144), ["144p 256"]),
        ((161, 121), ["120p 160"]),
        ((1279, 720), ["720p 1278", "480p 852", "360p 640", "240p 426"]),
        # Between two rungs: one of its own size, but not two nearly alike.
        ((1920, 784), ["720p 1764", "480p 1176", "360p 882", "240p 588"]),
        ((1920, 816), ["816p 1920", "480p 1130", "360p 848", "240p 564"]),
        ((3026, 1386), ["1386p 3026", "1080p 2358", "720p 1572", "480p 1048", "360p 786"]),
        ((1080, 1920), ["1920p 1080", "1440p 810", "1080p 608", "720p 406", "480p 270"]),
        ((960, 540), ["540p 960", "360p 640", "240p 426"]),
        ((640, 272), ["272p 640", "240p 564"]),
        ((7680, 4320), ["2160p 3840", "1440p 2560", "1080p 1920", "720p 1280", "480p 854"]),
    ],
)
def test_rungs_follow_the_displayed_size(size: tuple[int, int], rungs: list[str]) -> None:
    made = ladder(VIDEO, *size, Fraction(25))
    assert [f"{rung.name} {rung.width}" for rung in made][: len(rungs)] == rungs
    assert len(made) == len(rungs) or len(rungs) == _SHOWN
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


def test_a_rung_of_ones_own_size_has_the_rates_of_the_rung_above() -> None:
    by_height = {rung.height: rung for rung in VIDEO.rungs}
    own, above = ladder(VIDEO, 1920, 816, Fraction(25))[0], by_height[1080]
    assert (own.crf, own.maxrate, own.bufsize) == (above.best_crf, above.maxrate, above.bufsize)


def test_the_highest_rung_of_a_film_is_better_than_it_is_below_others() -> None:
    by_height = {rung.height: rung for rung in VIDEO.rungs}
    film, hd = ladder(VIDEO, 1280, 720, Fraction(25)), ladder(VIDEO, 1920, 1080, Fraction(25))
    assert film[0].crf == by_height[720].best_crf
    assert hd[1].crf == by_height[720].crf
    assert [rung.crf for rung in film[1:]] == [rung.crf for rung in hd[2:]]


def test_without_being_asked_for_there_is_none() -> None:
    plain = VIDEO.model_copy(update={"own_size": False})
    assert ladder(plain, 1920, 816, Fraction(25))[0].height == 720


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
