"""What nobody can do better than, and a scheduler that knows everything beforehand. Pure.

**The bounds.** No schedule pays for fewer worker-seconds than the parts take, and no upload is
ready sooner than after the look at it and its longest part, each on a worker that was there. Both
hold for every policy, whatever it knows; they cannot always be met at once, as workers take time to
start.

**The clairvoyant** knows every arrival and every true cost. It spreads the work of each upload
evenly over a span that it chooses, never shorter than the bound above; it has workers ready to the
second, as many as it likes, and lets an idle one stay just where that costs less than to start
another. Given the spans it pays the least there is: the workers that are needed are a sum of
layers, one for the first worker, one for the second and so on, and in each layer every gap costs
the lesser of staying and starting, independently of the others. The spans are those of the best of
a family: a lone film of C worker-seconds, on n workers that take s seconds to start, costs C + s·n
and waits C/n, which is cheapest over √(C·s/w), where w is the price of waiting; films that share
workers do better with less, so multiples of this are tried, 0 included, with which nobody waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from simulation.traces import Trace

#: Multiples of a lone film's best span that are tried.
_MULTIPLES: Final = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)

_DUST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Worker-seconds that are paid, and by how many seconds each upload is later than it could."""

    paid: float
    waits: tuple[float, ...]
    starts: int
    #: The workers that are needed, from each time on, in order.
    needed: tuple[tuple[float, int], ...]

    def price(self, weight: float) -> float:
        """Worker-seconds, with ``weight`` of them for each second that an upload waits."""
        return self.paid + weight * sum(self.waits)


def foreseen(trace: Trace, start: float, weight: float) -> Foreseen:
    """The cheapest of the family, where a worker takes ``start`` seconds to come."""
    each = (spread(trace, start, weight, multiple) for multiple in _MULTIPLES)
    return min(each, key=lambda one: one.price(weight))


def spread(trace: Trace, start: float, weight: float, multiple: float) -> Foreseen:
    """Each upload over so many times the span that is best for it alone."""
    changes: list[tuple[float, float]] = []
    waits = []
    for upload in trace.uploads:
        work, shortest = upload.work, upload.shortest
        span = max(shortest, multiple * math.sqrt(work * start / weight))
        changes += [(upload.at, work / span), (upload.at + span, -work / span)]
        waits.append(span - shortest)
    needed = _whole(changes)
    paid, starts = staffed(needed, start)
    return Foreseen(paid, tuple(waits), starts, needed)


def staffed(needed: tuple[tuple[float, int], ...], start: float) -> tuple[float, int]:
    """The least worker-seconds by which so many are always there, and how many are started.

    ``needed`` workers from each time on; none at the end.
    """
    paid, starts, before, since = 0.0, 0, 0, 0.0
    left: list[float] = []
    for at, count in needed:
        paid += before * (at - since)
        left.extend([at] * (before - count))
        for _ in range(count - before):
            gap = at - left.pop() if left else math.inf
            paid += min(gap, start)
            starts += gap > start
        before, since = count, at
    return paid, starts


def _whole(changes: list[tuple[float, float]]) -> tuple[tuple[float, int], ...]:
    """Whole workers from each time on, by the sum of what is needed there."""
    changes.sort()
    level, found = 0.0, []
    for at, group in groupby(changes, key=lambda change: change[0]):
        level += sum(delta for _, delta in group)
        found.append((at, max(0, math.ceil(level - _DUST))))
    found[-1] = (found[-1][0], 0)
    return tuple(found)
