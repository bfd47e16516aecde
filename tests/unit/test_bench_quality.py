"""Bits for quality: hulls, interpolation, what counts, the knee, and the fixed ladder's command."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from benchmarks.fixed_ladder import fixed_command, fixed_rungs
from benchmarks.rate_quality import (
    Need,
    Point,
    bits_for,
    hull,
    knee,
    mean_ratio,
    need,
    ratio_at_equal_quality,
    saving,
)
from benchmarks.vmaf import parse_vmaf
from transcoder.plan import VideoPlan

LADDER = (Point(4000, 96), Point(1000, 80), Point(250, 50))


def film(width: int, height: int) -> VideoPlan:
    return VideoPlan(
        stream=0,
        zero=Fraction(0),
        rate=Fraction(25),
        gop=50,
        segment=150,
        frames=250,
        preroll=0,
        constant_rate=True,
        width=width,
        height=height,
        preset="veryfast",
        rungs=(),
    )


def test_the_hull_leaves_out_what_two_others_do_better() -> None:
    worse, dearer = Point(2000, 81), Point(5000, 95)
    assert hull((*LADDER, worse, dearer)) == tuple(reversed(LADDER))


def test_the_hull_keeps_what_lies_above_the_line() -> None:
    better = Point(2000, 92)
    assert better in hull((*LADDER, better))


def test_between_points_bits_go_by_the_logarithm() -> None:
    assert bits_for(LADDER, 88) == pytest.approx(2000)
    assert bits_for(LADDER, 65) == pytest.approx(500)
    assert bits_for(LADDER, 80) == pytest.approx(1000)


def test_nothing_is_extrapolated() -> None:
    assert bits_for(LADDER, 20) == 250
    assert bits_for(LADDER, 96) == pytest.approx(4000)
    assert bits_for(LADDER, 96.1) is None


def test_quality_counts_up_to_enough() -> None:
    assert need(LADDER, Point(9000, 99)).rate == need(LADDER, Point(9000, 95)).rate
    assert need(LADDER, Point(9000, 99)).rate < 4000
    assert need(LADDER, Point(9000, 99)).reached


def test_what_is_not_reached_saves_nothing() -> None:
    low = LADDER[1:]
    assert need(low, Point(3000, 90)) == Need(3000, 3000, reached=False)
    assert need(low, Point(500, 90)) == Need(1000, 500, reached=False)


def test_savings_weigh_bits_and_ratios_weigh_rungs() -> None:
    needs = [Need(500, 1000, reached=True), Need(100, 100, reached=True)]
    assert saving(needs) == pytest.approx(500 / 1100)
    assert mean_ratio(needs) == pytest.approx(0.5**0.5)


def test_a_ladder_of_half_the_bits_has_half_of_them_at_any_quality() -> None:
    half = tuple(Point(each.rate / 2, each.quality) for each in LADDER)
    assert ratio_at_equal_quality(half, LADDER) == pytest.approx(0.5)
    assert ratio_at_equal_quality(LADDER, LADDER) == pytest.approx(1.0)
    assert ratio_at_equal_quality(LADDER, (Point(1, 97), Point(2, 98))) == 1.0


def test_the_knee_is_where_more_buys_least_more() -> None:
    assert knee([1, 2, 4, 8], [100, 50, 45, 42]) == 1
    assert knee([1, 2, 4, 8], [100, 95, 50, 48]) == 2
    assert knee([1, 2], [100, 100]) == 0


def test_a_preset_that_loses_on_both_is_no_knee() -> None:
    assert knee([1, 2, 3, 8], [100, 50, 70, 40]) == 1


@pytest.mark.parametrize(
    ("size", "names"),
    [
        ((416, 234), ["416x234-145k"]),
        ((640, 272), ["640x272-365k", "416x176-145k"]),
        ((406, 720), ["406x720-4500k", "406x720-3000k", "304x540-2000k", "244x432-1100k"]),
    ],
)
def test_fixed_rungs_fit_their_boxes_and_are_not_larger_than_the_film(
    size: tuple[int, int], names: list[str]
) -> None:
    assert [rung.name for rung in fixed_rungs(film(*size))][: len(names)] == names


def test_fixed_rungs_are_encoded_by_average_rate() -> None:
    words = fixed_command(film(1920, 1080), "/film.mp4", 125)
    rates = [words[at + 1] for at, word in enumerate(words) if word == "-b:v"]
    assert rates[0] == "7800000"
    assert rates[-1] == "145000"
    assert len(rates) == 9
    assert "-crf" not in words
    assert words[words.index("-maxrate") + 1] == "11700000"


def test_the_mean_is_read_from_the_answer() -> None:
    answer = {"frames": [{}, {}], "pooled_metrics": {"vmaf": {"min": 1.0, "mean": 93.5}}}
    assert parse_vmaf(json.dumps(answer)) == (93.5, 2)
