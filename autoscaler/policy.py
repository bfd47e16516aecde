"""How many workers a pool should have: pure arithmetic over what is waiting and running.

Growing is immediate, because a viewer waits. Shrinking waits until nothing within the last
``cooldown`` seconds called for more, as queues breathe: the parts of a chunked video arrive in
windows, and a worker that goes between two of them comes straight back. Only the peaks of that
time have to be remembered for this, so the state is a handful of numbers.
"""

from __future__ import annotations

from dataclasses import dataclass


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

    def __post_init__(self) -> None:
        if not 0 <= self.minimum <= self.maximum or min(self.step_up, self.step_down) < 1:
            raise ValueError(f"pool {self.name}: 0 <= minimum <= maximum and steps of at least 1")


@dataclass(frozen=True, slots=True)
class PoolDemand:
    """Parts of a pool that wait for a worker, and parts that have one."""

    waiting: int
    in_flight: int


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
    wanted = _clamp(demand.waiting + demand.in_flight, pool)
    remembered = _remember(peaks, Peak(now, wanted), pool.cooldown)
    busy = f"{demand.waiting} waiting, {demand.in_flight} in work, at least {pool.minimum} wanted"
    if wanted > current:
        return Decision(min(wanted, current + pool.step_up), f"grow: {busy}", remembered)
    held = remembered[0].count
    if held >= current:
        reason = f"steady: {busy}" if wanted == current else f"hold: {busy}; cooling down"
        return Decision(current, reason, remembered)
    count = max(held, current - pool.step_down)
    return Decision(count, f"shrink: {busy} for {pool.cooldown:g} s", remembered)


def _clamp(count: int, pool: PoolSpec) -> int:
    return max(pool.minimum, min(pool.maximum, count))


def _remember(peaks: tuple[Peak, ...], latest: Peak, cooldown: float) -> tuple[Peak, ...]:
    """The peaks that still matter: recent, and higher than everything after them."""
    recent = (p for p in peaks if p.at > latest.at - cooldown and p.count > latest.count)
    return (*recent, latest)
