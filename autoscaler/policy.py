"""How many workers a pool should have: pure arithmetic over what is waiting and running.

There are enough workers when what waits would be done within the pool's target drain time. More
than there are parts are never of use, and fewer than there are parts in work would only stop what
goes on by itself. What long films have not sent yet is a reason for some workers only: it waits for
room, which grows as workers come, and a machine for each of a thousand parts would do but one. But
parts may be so short that those with room never call for another worker, so there are enough to
have all of it done within a longer time. Predictions may be wrong, so a part that has waited for
longer than the target calls for one worker more at every look, whatever was predicted.

Growing is immediate, because a viewer waits. Shrinking waits until nothing within the last
``cooldown`` seconds called for more, as queues breathe: the parts of a chunked video arrive in
windows, and a worker that goes between two of them comes straight back. Only the peaks of that
time have to be remembered for this, so the state is a handful of numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

#: The least share of the target drain time that new workers are taken to have, however long they
#: take to start.
_LEAST: Final = 0.25

#: A target, in seconds, that is as good as none.
_AT_ONCE: Final = 0.001


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """The bounds of one pool. ``minimum`` 0 lets it go to sleep altogether."""

    name: str
    minimum: int
    maximum: int
    #: Seconds that have to pass without a need before the pool shrinks.
    cooldown: float = 60.0
    #: Most workers added, and taken away, by one decision.
    step_up: int = 1000
    step_down: int = 1000
    #: Seconds within which all that waits is to be done; 0 for a worker to every part.
    target_drain: float = 0.0
    #: Seconds from a decision until a new worker takes its first part.
    start_delay: float = 0.0
    #: Seconds within which what long films have not sent yet is to be done; 0 to wait for it.
    follow_drain: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.maximum or min(self.step_up, self.step_down) < 1:
            raise ValueError(f"pool {self.name}: 0 <= minimum <= maximum and steps of at least 1")
        if min(self.cooldown, self.target_drain, self.start_delay, self.follow_drain) < 0:
            raise ValueError(f"pool {self.name}: times are not negative")


@dataclass(frozen=True, slots=True)
class PoolDemand:
    """What a pool has to do. Work is in seconds of one worker, corrected by the pool's pace."""

    #: Parts that wait for a worker, and parts that have one.
    waiting: int
    in_flight: int
    #: Work of the parts that wait, and what is left of those that have a worker.
    backlog: float = 0.0
    in_flight_left: float = 0.0
    #: Work and parts that are planned and follow as soon as there is room for them.
    unsent: float = 0.0
    unsent_parts: int = 0
    #: Seconds for which the longest waiting part has waited.
    oldest: float = 0.0

    @property
    def parts(self) -> int:
        """How many workers could be of use now."""
        return self.waiting + self.in_flight

    @property
    def work(self) -> float:
        """Seconds of one worker until all is done that waits or is in work."""
        return self.backlog + self.in_flight_left


@dataclass(frozen=True, slots=True)
class Peak:
    """A count that was called for at a time (seconds of any clock that does not go back)."""

    at: float
    count: int


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers there should be, why, and what the next decision has to know."""

    count: int
    reason: str
    peaks: tuple[Peak, ...] = ()


def desired(
    demand: PoolDemand, pool: PoolSpec, current: int, peaks: tuple[Peak, ...], now: float
) -> Decision:
    """The count ``pool`` should have at ``now``, given ``current`` and the last ``peaks``."""
    wanted = _clamp(_useful(demand, pool, current), pool)
    remembered = _remember(peaks, Peak(now, wanted), pool.cooldown)
    seen = _seen(demand, pool)
    if wanted > current:
        return Decision(min(wanted, current + pool.step_up), f"grow: {seen}", remembered)
    held = min(remembered[0].count, pool.maximum)
    if held >= current:
        reason = f"steady: {seen}" if wanted == current else f"hold: {seen}; cooling down"
        return Decision(current, reason, remembered)
    count = max(held, current - pool.step_down)
    return Decision(count, f"shrink: {seen} for {pool.cooldown:g} s", remembered)


def _useful(demand: PoolDemand, pool: PoolSpec, current: int) -> int:
    """How many workers the demand calls for, within no bounds but its own."""
    called_for = max(
        demand.in_flight,
        min(1, demand.parts),
        _for_work(demand, pool, current),
        current + 1 if _is_late(demand, pool) else 0,
    )
    return max(min(called_for, demand.parts), _following(demand, pool))


def _for_work(demand: PoolDemand, pool: PoolSpec, current: int) -> int:
    """Workers that do it within the target; new ones begin ``start_delay`` later."""
    target, most = pool.target_drain, demand.parts
    if target <= _AT_ONCE:
        return most
    enough = math.ceil(min(demand.work / target, most))
    if current >= enough:
        return enough
    by_new = demand.work - current * target
    added = by_new / max(target - pool.start_delay, _LEAST * target)
    return current + math.ceil(min(added, most))


def _following(demand: PoolDemand, pool: PoolSpec) -> int:
    """Workers that do in time what is not sent yet."""
    if pool.follow_drain <= _AT_ONCE:
        return 0
    return math.ceil(min(demand.unsent / pool.follow_drain, demand.unsent_parts))


def _is_late(demand: PoolDemand, pool: PoolSpec) -> bool:
    return demand.waiting > 0 and demand.oldest > pool.target_drain


def _seen(demand: PoolDemand, pool: PoolSpec) -> str:
    """In words, what the decision is made by."""
    words = [f"{demand.waiting} waiting", f"{demand.in_flight} in work"]
    if demand.unsent_parts:
        words.append(f"{demand.unsent_parts} to follow")
    if pool.target_drain > 0:
        words.append(f"{demand.work:.0f} s of work for {pool.target_drain:g} s")
        if _is_late(demand, pool):
            words.append(f"one has waited for {demand.oldest:.0f} s")
    words.append(f"at least {pool.minimum} wanted")
    return ", ".join(words)


def _clamp(count: int, pool: PoolSpec) -> int:
    return max(pool.minimum, min(pool.maximum, count))


def _remember(peaks: tuple[Peak, ...], latest: Peak, cooldown: float) -> tuple[Peak, ...]:
    """The peaks that still matter: recent, and higher than everything after them."""
    recent = (p for p in peaks if p.at > latest.at - cooldown and p.count > latest.count)
    return (*recent, latest)
