"""The output's clock: rates, pre-roll and chunks."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.probed import Probe, Timing, VideoStream
from transcoder.profile import load_profile
from transcoder.timeline import (
    Chunk,
    Sizes,
    chunk_sizes,
    chunks,
    is_cuttable,
    lengths,
    output_rate,
    predicted_seconds,
    preroll,
)

VIDEO = load_profile().video


def stream(average: str | None = None, base: str | None = None) -> VideoStream:
    return VideoStream(
        index=0,
        codec="h264",
        width=640,
        height=360,
        average_rate=None if average is None else Fraction(average),
        base_rate=None if base is None else Fraction(base),
        duration=60.0,
    )


def timing(rate: str | None, *, constant: bool = True, gop: float | None = 2.0) -> Timing:
    return Timing(
        first_picture=Fraction(0),
        rate=None if rate is None else Fraction(rate),
        constant_rate=constant,
        longest_gop=gop,
    )


def probe(container: str = "mov", **more: object) -> Probe:
    facts = {
        "container": container,
        "duration": 60.0,
        "start": 0.0,
        "size": 10**6,
        "bit_rate": None,
        "indexed": container == "mov",
        "timing": timing("25"),
    }
    return Probe.model_validate(facts | more)


@pytest.mark.parametrize(
    ("measured", "value"),
    [
        ("30000/1001", "30000/1001"),
        ("2997/100", "30000/1001"),
        ("720000/29993", "24"),
        ("24000/1001", "24000/1001"),
        ("15", "15"),
        ("25/2", "25/2"),
        ("15000/1001", "15000/1001"),
        ("120", "60"),
        ("240", "60"),
        ("120000/1001", "60000/1001"),
        ("100", "50"),
    ],
)
def test_constant_rates_are_kept_exactly_or_halved(measured: str, value: str) -> None:
    rate = output_rate(stream(), timing(measured), 60)
    assert (rate.value, rate.constant) == (Fraction(value), True)


def test_halved_rates_move_source_pictures_off_the_middle() -> None:
    rate = output_rate(stream(), timing("120"), 60)
    assert rate.nudge == Fraction(1, 240)
    assert output_rate(stream(), timing("60"), 60).nudge == 0


@pytest.mark.parametrize(
    ("source", "sampled", "value"),
    [
        (stream(average="3628800/502589"), timing("7", constant=False), "30"),
        (stream(average="2991/100"), timing("20", constant=False), "30000/1001"),
        (stream(average="41"), timing("41", constant=False), "60"),
        (stream(base="1000"), None, "25"),
        (stream(), timing("1"), "10"),
        (stream(), timing("591/20"), "30000/1001"),
    ],
)
def test_odd_and_variable_rates_are_conformed(
    source: VideoStream, sampled: Timing | None, value: str
) -> None:
    rate = output_rate(source, sampled, 60)
    assert (rate.value, rate.constant) == (Fraction(value), False)


def test_an_index_still_needs_the_reordering_depth() -> None:
    assert preroll(probe(), Fraction(25)) == pytest.approx(17 / 25)
    sampled = timing("25").model_copy(update={"reordering": 0.12})
    assert preroll(probe(timing=sampled), Fraction(25)) == pytest.approx(0.12)
    absurd = timing("25").model_copy(update={"reordering": 60.0})
    assert preroll(probe(timing=absurd), Fraction(25)) == 2.0
    without = preroll(probe("mpegts"), Fraction(25))
    assert without == pytest.approx(3.0 + 17 / 25)


@pytest.mark.parametrize(
    ("found", "cuttable"),
    [
        (probe(), True),
        (probe("mpegts"), True),
        (probe("h264"), False),
        (probe(timing=None), False),
        (probe(timing=timing("25").model_copy(update={"timestamps_missing": True})), False),
        (probe(timing=timing("25").model_copy(update={"unread": 1000})), False),
        (probe("mpegts", timing=timing("25", gop=60.0)), False),
        (
            probe("mpegts", timing=timing("25").model_copy(update={"first_picture": 95_440})),
            False,
        ),
    ],
)
def test_what_can_not_be_cut(found: Probe, cuttable: bool) -> None:
    early = preroll(found, Fraction(25))
    assert is_cuttable(found, 60.0, early, VIDEO.chunk_longest / 2) is cuttable
    assert not is_cuttable(found, None, early, VIDEO.chunk_longest / 2)


def test_the_shorter_of_two_lengths_counts_and_a_guess_does_not() -> None:
    late = probe(duration=70.0, start=2.0)
    assert predicted_seconds(late, stream(), Fraction(20)) == 52.0
    assert predicted_seconds(late, stream(), Fraction(2)) == 60.0
    assert predicted_seconds(probe(estimated=True), stream(), Fraction(0)) is None


def test_chunks_are_short_where_somebody_waits_for_them() -> None:
    made = chunks(1603, 50, 150, Sizes(1, 5))
    assert [chunk.first for chunk in made] == [50, 200, 500, 800, 1100, 1250, 1400, 1550]
    assert [chunk.count for chunk in made] == [150, 300, 300, 300, 150, 150, 150, None]
    assert chunks(99, 50, 150, Sizes(1, 5)) == ()
    assert chunks(100, 50, 150, Sizes(1, 5)) == (Chunk(50, None),)
    assert lengths(40, Sizes(1, 5)) == (1, 2, 3, 4, 5, 5, 5, 4, 3, 2, 2, 1, 1, 1, 1)
    assert lengths(11, Sizes(3, 4)) == (3, 3, 5)


@settings(deadline=None)  # the machine may be busy
@given(
    st.integers(1, 50_000),
    st.integers(5, 120),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(0, 10),
)
def test_chunks_tile_the_film(frames: int, gop: int, gops: int, shortest: int, more: int) -> None:
    segment = gop * gops
    sizes = Sizes(shortest, shortest + more)
    made = chunks(frames, gop, segment, sizes)
    if not made:
        assert frames < 2 * gop
        return
    assert made[0].first == gop
    assert all((chunk.first - gop) % segment == 0 for chunk in made)
    assert all(a.first + (a.count or 0) == b.first for a, b in pairwise(made))
    assert made[-1].count is None
    assert frames - made[-1].first >= gop
    counts = [chunk.count // segment for chunk in made[:-1] if chunk.count is not None]
    assert all(shortest <= count < sizes.longest + shortest for count in counts)


@given(st.integers(1, 2000), st.integers(1, 10))
def test_chunks_keep_two_slots_busy_to_the_end(whole: int, longest: int) -> None:
    made = lengths(whole, Sizes(1, longest))
    assert sum(made) == whole
    free = [0, 0]
    for length in made:
        free[free.index(min(free))] += length
    assert max(free) - min(free) <= 1
    assert len(made) <= whole / longest + 3 * longest + 4


@pytest.mark.parametrize(
    ("early", "sizes"), [(0.7, Sizes(1, 5)), (10.0, Sizes(2, 5)), (15, Sizes(2, 8))]
)
def test_chunks_grow_with_the_cost_of_a_seek(early: float, sizes: Sizes) -> None:
    assert chunk_sizes(VIDEO, early) == sizes
