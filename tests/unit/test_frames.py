"""The frame contract sees what a count hides."""

from __future__ import annotations

from fractions import Fraction

import pytest

from transcoder.frames import FrameMeter
from transcoder.plan import Rung, VideoPlan

RUNG = Rung(name="90p", width=160, height=90, crf=23, maxrate=1, bufsize=1, level="1.3")


def video(**more: object) -> VideoPlan:
    facts = {
        "stream": 0,
        "zero": Fraction(10),
        "rate": Fraction(25),
        "gop": 50,
        "segment": 150,
        "frames": None,
        "preroll": 0.0,
        "constant_rate": True,
        "width": 160,
        "height": 90,
        "preset": "veryfast",
        "rungs": (RUNG,),
    }
    return VideoPlan.model_validate(facts | more)


def lines(first: int, shown: list[int]) -> bytes:
    """Frame ``first + n`` of the output shows picture ``shown[n]`` of the source."""
    return b"".join(
        b"%d %d 1/25 %d 1/90000\n" % (n, first + n, 900_000 + picture * 3600)
        for n, picture in enumerate(shown)
    )


def measured(data: bytes, *, first: int = 100, **more: object) -> FrameMeter:
    meter = FrameMeter(video(**more), first)
    for at in range(0, len(data), 7):
        meter.feed(data[at : at + 7])
    return meter


def test_every_picture_in_its_place() -> None:
    report = measured(lines(100, [100, 101, 102])).report()
    assert (report.count, report.skew, report.ok) == (3, 0.0, True)


def test_one_repeated_picture_is_borne_and_two_are_not() -> None:
    assert measured(lines(100, [100, 100, 102])).report().ok
    report = measured(lines(100, [100, 100, 100])).report()
    assert report.skew == pytest.approx(0.08)
    assert not report.ok


def test_a_seek_that_landed_late_fails_though_the_count_is_right() -> None:
    report = measured(lines(100, [130] * 31)).report()
    assert (report.count, report.ok) == (31, False)


def test_a_still_is_no_fault_where_the_rate_varies() -> None:
    report = measured(lines(100, [50, 50, 50]), constant_rate=False).report()
    assert report.ok
    assert report.skew == pytest.approx(2.08)


def test_a_picture_before_its_time_fails_at_any_rate() -> None:
    report = measured(lines(100, [120] * 20), constant_rate=False).report()
    assert not report.ok
    assert not report.in_step


def test_faults_are_told_from_when_the_right_picture_was_due() -> None:
    shown = [100, 101, *[101] * 10, 112, 113]
    report = measured(lines(100, shown)).report()
    (fault,) = report.faults
    assert (fault.begin, fault.end) == (pytest.approx(102 / 25), pytest.approx(112 / 25))
    assert report.in_step


def test_the_same_faults_twice_are_those_of_the_source() -> None:
    hole = measured(lines(100, [100, *[100] * 10, 111])).report()
    elsewhere = measured(lines(100, [100, 101, *[101] * 10])).report()
    astray = measured(lines(100, [130] * 31)).report()
    fine = measured(lines(100, [100, 101])).report()
    assert fine.settles(None)
    assert fine.settles(hole)
    assert hole.settles(hole)
    assert not hole.settles(None)
    assert not hole.settles(elsewhere)
    assert not astray.settles(astray), "it may be for the seek, and a longer pre-roll helps"
    nothing = FrameMeter(video(), 100, count=3).report()
    assert not nothing.settles(nothing)


def test_frames_off_the_grid_fail() -> None:
    assert not measured(lines(101, [100, 101])).report().ok


def test_nothing_at_all_fails() -> None:
    assert not FrameMeter(video(), 0).report().ok


def test_a_wrong_count_fails_where_the_right_one_is_known() -> None:
    meter = FrameMeter(video(), 100, count=3)
    meter.feed(lines(100, [100, 101]))
    assert not meter.report().ok


def test_unknown_source_times_are_no_skew() -> None:
    meter = FrameMeter(video(), 0)
    meter.feed(b"0 0 1/25 -9223372036854775808 1/90000\n1 1 1/25 nan 0/0\n")
    report = meter.report()
    assert (report.count, report.skew, report.ok) == (2, None, True)
