"""Finding where a source breaks off with few seeks."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import pytest

from media.ending import find_end
from media.timing import Packet

BASE = Fraction(1, 1000)


@dataclass
class Source:
    """A picture every tenth of a second, a key frame every ``gop`` of them."""

    #: Up to when it can be read, and how long its index is.
    end: float
    told: float = 7200.0
    gop: int = 20
    #: Whether a seek beyond what is there leads to the last key frame, as in Matroska.
    clings: bool = False
    asked: list[str] = field(default_factory=list)

    def __call__(self, intervals: str) -> list[Packet]:
        self.asked.append(intervals)
        return [packet for each in intervals.split(",") for packet in self._read(each)]

    def _read(self, interval: str) -> list[Packet]:
        start, _, count = interval.partition("%+#")
        last = int(self.end * 10)
        wanted = min(int(float(start) * 10), int(self.told * 10) - 1) // self.gop * self.gop
        begin = min(wanted, last // self.gop * self.gop) if self.clings else wanted
        times = range(begin, min(begin + int(count), last + 1))
        return [Packet(pts=time * 100, dts=None) for time in times]


@pytest.mark.parametrize("clings", [False, True])
@pytest.mark.parametrize("end", [1.0, 9.5, 100.3, 3000.0, 7100.0])
def test_the_end_of_a_broken_off_film_is_found(end: float, clings: bool) -> None:
    source = Source(end, clings=clings)
    assert find_end(source, BASE, Fraction(0), Fraction(7200)) == Fraction(str(end))
    assert len(source.asked) <= 6


@pytest.mark.parametrize("clings", [False, True])
def test_a_whole_film_costs_one_packet(clings: bool) -> None:
    source = Source(7199.9, clings=clings)
    assert find_end(source, BASE, Fraction(0), Fraction(7200)) is None
    assert source.asked == ["7200.000%+#1"]


def test_long_groups_are_no_damage() -> None:
    assert find_end(Source(59.9, 60, gop=300), BASE, Fraction(0), Fraction(60)) is None
    assert find_end(Source(59.9, 60, gop=600), BASE, Fraction(0), Fraction(60)) is None


def test_less_than_a_second_is_left_to_the_last_part() -> None:
    assert find_end(Source(59.2, 60), BASE, Fraction(0), Fraction(60)) is None


def test_a_source_that_cannot_be_sought_in_is_left_alone() -> None:
    assert find_end(lambda _: [], BASE, Fraction(0), Fraction(60)) is None


def test_a_packet_that_is_cut_off_does_not_count() -> None:
    def ask(_: str) -> list[Packet]:
        return [Packet(pts=1000, dts=None), Packet(pts=2000, dts=None, corrupt=True)]

    assert find_end(ask, BASE, Fraction(0), Fraction(60)) == 1
