"""Arithmetic on rates and qualities: hulls, bits for a quality, savings, and the knee. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from statistics import geometric_mean
from typing import Final

#: VMAF above which nobody sees a difference; quality counts up to here.
ENOUGH: Final = 95.0

#: Steps between the qualities at which two curves are compared.
_STEPS: Final = 50


@dataclass(frozen=True, slots=True)
class Point:
    """One encoding: bits a second, and VMAF."""

    rate: float
    quality: float


@dataclass(frozen=True, slots=True)
class Need:
    """What a ladder needs for the quality of one rung of another, both in bits a second.

    ``reached`` is False where its best rung is worse than that.
    """

    rate: float
    other: float
    reached: bool


def hull(points: Sequence[Point]) -> tuple[Point, ...]:
    """The upper convex hull over the logarithm of the rate, rising in both.

    Rungs below it are left out: whoever gets one would do better with the two beside it.
    """
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (each.rate, -each.quality)):
        if best and point.quality <= best[-1].quality:
            continue
        while len(best) > 1 and _slope(best[-2], best[-1]) <= _slope(best[-2], point):
            best.pop()
        best.append(point)
    return tuple(best)


def bits_for(points: Sequence[Point], quality: float) -> float | None:
    """Bits a second for a quality, straight between points of the hull in the logarithm of rate.

    Nothing is extrapolated: less than the lowest point costs what the lowest point costs, and for
    more than the highest there is None.
    """
    outline = hull(points)
    if quality <= outline[0].quality:
        return outline[0].rate
    for low, high in pairwise(outline):
        if quality <= high.quality:
            share = (quality - low.quality) / (high.quality - low.quality)
            return exp(log(low.rate) + share * (log(high.rate) - log(low.rate)))
    return None


def need(points: Sequence[Point], rung: Point, enough: float = ENOUGH) -> Need:
    """What a ladder with those points needs for the quality of ``rung``, or for ``enough``.

    What it does not reach counts as the rate of its best point or of ``rung``, whichever is more:
    it saves nothing there.
    """
    wanted = min(rung.quality, enough)
    rate = bits_for(points, wanted)
    if rate is not None:
        return Need(rate, rung.rate, reached=True)
    return Need(max(rung.rate, hull(points)[-1].rate), rung.rate, reached=False)


def saving(needs: Sequence[Need]) -> float:
    """Share of the bits of all rungs that are not needed."""
    return 1 - sum(each.rate for each in needs) / sum(each.other for each in needs)


def mean_ratio(needs: Sequence[Need]) -> float:
    """Geometric mean of what is needed to what the other has: each rung weighs alike."""
    return geometric_mean(each.rate / each.other for each in needs)


def ratio_at_equal_quality(
    points: Sequence[Point], reference: Sequence[Point], enough: float = ENOUGH
) -> float:
    """Bits at the qualities of ``reference``, up to ``enough``, to the bits that it has for them.

    Qualities that only one of the two reaches are left out; 1.0 where none is left.
    """
    outline = hull(reference)
    lowest = max(outline[0].quality, hull(points)[0].quality)
    highest = min(outline[-1].quality, hull(points)[-1].quality, enough)
    if highest <= lowest:
        return 1.0
    steps = [lowest + (highest - lowest) * step / _STEPS for step in range(_STEPS + 1)]
    pairs = [(bits_for(points, each), bits_for(reference, each)) for each in steps]
    return geometric_mean(mine / theirs for mine, theirs in pairs if mine and theirs)


def knee(costs: Sequence[float], bits: Sequence[float]) -> int:
    """The place on a falling curve from which more cost buys least more: its index.

    Both axes are logarithmic and scaled to the ends; it is the place farthest below the straight
    line between the ends.
    """
    xs, ys = [log(each) for each in costs], [log(each) for each in bits]
    wide, high = xs[-1] - xs[0], ys[0] - ys[-1]
    if wide <= 0 or high <= 0:
        return 0
    below = [1 - (x - xs[0]) / wide - (y - ys[-1]) / high for x, y in zip(xs, ys, strict=True)]
    return below.index(max(below))


def _slope(low: Point, high: Point) -> float:
    return (high.quality - low.quality) / (log(high.rate) - log(low.rate))
