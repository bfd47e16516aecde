"""The policies that are compared, each with the parameters that its kind is commonly given.

A policy is made anew for every run, as it may remember.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autoscaler import tuning
from autoscaler.policy import Peak, PoolSpec, desired
from simulation.platforms import Platform
from simulation.pool import Policy, Seen

#: What a horizontal pod autoscaler does by default: at most so many pods, or as many again as there
#: are, more in so many seconds; fewer only when nothing called for more for so long.
_HPA_STEP: Final = 4
_HPA_PERIOD: Final = 15.0
_HPA_HOLD: Final = 300.0

#: Waiting parts for a worker, and the share of workers that is to be busy.
_PER_WORKER: Final = 5
_UTILISATION: Final = 0.7
#: Deviations from that share that are overlooked.
_TOLERANCE: Final = 0.1


def shipped(pool: PoolSpec) -> Policy:
    """The farm's own, with these parameters."""
    peaks: tuple[Peak, ...] = ()

    def decide(seen: Seen, current: int, now: float) -> int:
        nonlocal peaks
        decision = desired(seen.demand, pool, current, peaks, now)
        peaks = decision.peaks
        return decision.count

    return decide


def one_each(cooldown: float = 60.0) -> Policy:
    """A worker for every part that waits or is in work, kept for ``cooldown`` seconds."""
    highest = Highest(cooldown)

    def decide(seen: Seen, _current: int, now: float) -> int:
        return highest(now, seen.demand.waiting + seen.demand.in_flight)

    return decide


def per_worker(parts: int = _PER_WORKER) -> Policy:
    """So many waiting parts for a worker, as a queue's length is commonly scaled by."""
    highest, rise = Highest(_HPA_HOLD), Rise()

    def decide(seen: Seen, current: int, now: float) -> int:
        wanted = math.ceil(seen.demand.waiting / parts)
        if seen.demand.in_flight:
            wanted = max(wanted, 1)
        return rise(now, current, highest(now, wanted))

    return decide


def utilised(share: float = _UTILISATION) -> Policy:
    """So many workers that such a share of them is busy; never fewer than one."""
    highest, rise = Highest(_HPA_HOLD), Rise()

    def decide(seen: Seen, current: int, now: float) -> int:
        ratio = seen.busy / max(seen.serving, 1) / share
        # Workers that start count as idle ones, lest they are asked for again and again.
        if seen.serving < current:
            ratio = max(seen.busy / max(current, 1) / share, min(ratio, 1.0))
        near = abs(ratio - 1) <= _TOLERANCE
        wanted = current if near else math.ceil(current * ratio)
        return rise(now, current, max(1, highest(now, wanted)))

    return decide


def fixed(count: int) -> Policy:
    """Always so many."""
    return lambda _seen, _current, _now: count


class Highest:
    """The highest of the counts of the last ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._counts: deque[tuple[float, int]] = deque()

    def __call__(self, now: float, count: int) -> int:
        while self._counts and self._counts[-1][1] <= count:
            self._counts.pop()
        self._counts.append((now, count))
        while self._counts[0][0] <= now - self._seconds:
            self._counts.popleft()
        return self._counts[0][1]


class Rise:
    """Lets a count rise by a few, or to twice what it was, in every period."""

    def __init__(self) -> None:
        self._since, self._base = -math.inf, 0

    def __call__(self, now: float, current: int, wanted: int) -> int:
        if now >= self._since + _HPA_PERIOD:
            self._since, self._base = now, current
        return min(wanted, max(self._base + _HPA_STEP, 2 * self._base, current))


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy by the name it has in tables."""

    name: str
    make: Callable[[], Policy]


def contenders(pool: PoolSpec) -> tuple[Contender, ...]:
    """All but the fixed ones, whose size depends on the trace; the shipped one first."""
    return (
        Contender("shipped", lambda: shipped(pool)),
        Contender("one per part", one_each),
        Contender(f"{_PER_WORKER} waiting per worker", per_worker),
        Contender(f"{_UTILISATION:.0%} busy", utilised),
    )


def tuned(platform: Platform) -> PoolSpec:
    """The shipped policy as it ships, for a pool on the platform that may sleep."""
    return tuning.tuned("cpu", 0, platform.maximum, platform.start)
