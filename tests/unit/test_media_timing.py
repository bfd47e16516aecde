"""Clocks: first picture, rate, evenness, GOP length."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.parse import parse
from media.probed import Timing, VideoStream
from media.timing import Packet, first_shown, parse_packets, timing

PROBES = Path(__file__).parents[1] / "fixtures" / "probes"
STREAM = VideoStream(index=0, codec="h264", width=16, height=16, time_base=Fraction(1, 1000))


def recorded(name: str) -> tuple[VideoStream, tuple[Packet, ...]]:
    document = json.loads((PROBES / f"{name}.json").read_text())
    main = parse(document).main_video
    assert main is not None
    return main, parse_packets(document)


def timed(*pts: int, keys: tuple[int, ...] = (0,), **about: object) -> Timing:
    packets = [Packet(time, time, key=place in keys) for place, time in enumerate(pts)]
    return timing(STREAM.model_copy(update=about), packets, Fraction(0), complete=True)


@pytest.mark.parametrize("name", ["bikes", "portrait_4k60", "no_duration", "hdr10-av1"])
def test_first_picture_is_the_first_key_frame(name: str) -> None:
    assert first_shown(recorded(name)[1]) == 0


def test_late_start() -> None:
    assert first_shown(recorded("fixture-raw")[1]) == 129003


@pytest.mark.parametrize("name", ["fishes", "fixture"])
def test_missing_times_leave_it_to_the_decoder(name: str) -> None:
    stream, packets = recorded(name)
    assert first_shown(packets) is None
    assert timing(stream, packets, Fraction(0), complete=False).timestamps_missing


@pytest.mark.parametrize(
    "packets",
    [
        [],
        [Packet(0, 0, key=False), Packet(40, 40, key=True)],
        [Packet(80, 0, key=True), Packet(0, 40), Packet(40, 80)],
        [Packet(-40, -40, key=True, hidden=True), Packet(0, 0)],
    ],
    ids=["nothing", "no key frame first", "leading pictures", "edit list inside a GOP"],
)
def test_doubt(packets: list[Packet]) -> None:
    assert first_shown(packets) is None


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("bikes", Fraction(25)),
        ("portrait_4k60", Fraction(60)),
        ("hdr10-av1", Fraction(30000, 1001)),
        ("fixture-raw", Fraction(30000, 1001)),
        ("no_duration", Fraction(15000, 1001)),
    ],
)
def test_constant_rates(name: str, rate: Fraction) -> None:
    stream, packets = recorded(name)
    found = timing(stream, packets, Fraction(0), complete=len(packets) < 48)
    assert (found.constant_rate, found.rate) == (True, rate)


def test_variable_rate() -> None:
    stream, packets = recorded("cursed-vfr")
    found = timing(stream, packets, Fraction(0), complete=False)
    assert not found.constant_rate
    assert found.rate is not None


def test_millisecond_clock_is_even() -> None:
    found = timed(0, 33, 67, 100, 133, 167, 200)
    assert (found.constant_rate, found.rate) == (True, Fraction(30))


def test_hole_is_not_even() -> None:
    assert not timed(0, 40, 80, 200, 240, 280, base_rate=Fraction(25)).constant_rate


def test_a_hole_of_a_second_leaves_the_pace_of_the_rest() -> None:
    whole = range(0, 10_000, 40)
    holed = timed(*(t for t in whole if not 4000 <= t < 5000), base_rate=Fraction(25))
    assert (holed.rate, holed.holed, holed.constant_rate) == (25, True, False)
    stutter = timed(*(t for t in whole if t % 280 not in (80, 120)), base_rate=Fraction(25))
    assert not stutter.holed
    assert not timed(*whole, base_rate=Fraction(25)).holed


def test_pictures_that_thin_out_later_are_not_even() -> None:
    even = {"base_rate": Fraction(25), "duration": 100.0}
    assert timed(0, 40, 80, 120, frames=2500, **even).constant_rate
    assert not timed(0, 40, 80, 120, frames=2000, **even).constant_rate


def test_one_picture_has_no_rate() -> None:
    found = timed(0)
    assert (found.constant_rate, found.rate, found.longest_gop) == (True, None, None)


def test_pictures_at_one_time_have_no_rate() -> None:
    assert timed(7, 7, 7).rate is None


def test_longest_gop() -> None:
    assert timed(0, 1000, 2000, 3000, keys=(0, 1, 3)).longest_gop == 2.0
    assert timed(0, 1000, 2000, 6000, keys=(0, 1)).longest_gop == 5.0
    assert timed(0, 1000, keys=(0,)).longest_gop is None


TIMES = st.none() | st.integers(-(2**40), 2**40)


@settings(deadline=None)
@given(st.lists(st.builds(Packet, TIMES, TIMES, st.booleans(), st.booleans()), max_size=30))
def test_any_packets(packets: list[Packet]) -> None:
    first_shown(packets)
    found = timing(STREAM, packets, Fraction(0), complete=False)
    assert found.rate is None or found.rate > 0
    assert Timing.model_validate_json(found.model_dump_json()) == found


@given(st.integers(0, 7), st.integers(2, 9), st.integers(-400, 400))
def test_no_leading_picture_is_further_ahead_than_the_reordering(
    between: int, group: int, shift: int
) -> None:
    """Open groups: an anchor is decoded before the pictures that are shown just before it."""
    shown = [0]
    for anchor in range(between + 1, 100, between + 1):
        shown += [anchor, *range(anchor - between, anchor)]
    keys = {n * group * (between + 1) for n in range(100)}
    packets = [
        Packet(40 * picture, 40 * place + shift, key=picture in keys)
        for place, picture in enumerate(shown)
    ]
    sampled = timing(STREAM, packets, Fraction(0), complete=False).reordering
    assert sampled is not None
    for place, packet in enumerate(packets):
        if packet.key and packet.pts is not None:
            after = [p.pts for p in packets[place:] if p.pts is not None]
            assert packet.pts - min(after) <= sampled * 1000


def test_a_short_sample_or_one_without_times_does_not_tell_the_reordering() -> None:
    assert timed(*range(0, 2000, 40)).reordering is None
    assert timed(*range(0, 8000, 40)).reordering == 0.0
    packets = [Packet(40 * n, 40 * n if n else None) for n in range(200)]
    assert timing(STREAM, packets, Fraction(0), complete=True).reordering is None
