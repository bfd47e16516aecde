"""The loop's one step: look at the demand of every pool, decide, have it so.

The operator's word comes before the policy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from autoscaler.policy import Decision, Peak, PoolDemand, PoolSpec, desired
from jobs.control import Control

log = structlog.get_logger(__name__)

_NOTHING: Final = PoolDemand(waiting=0, in_flight=0)


class Target(Protocol):
    """Something that can be told how many workers a pool should have."""

    def count(self, pool: str) -> int:
        """How many workers the pool was last told to have."""

    def scale(self, pool: str, count: int, reason: str) -> None:
        """Have that many workers of the pool, now or as soon as it can be."""


@dataclass(frozen=True, slots=True)
class ScaledPool:
    """A pool as it stands after a decision, for people and for the API."""

    name: str
    before: int
    decision: Decision
    demand: PoolDemand = _NOTHING
    #: Whether the operator has said how many, and the policy was not asked.
    ordered: bool = False


class Scaler:
    """Applies the policy to the pools of one target. ``demand()`` gives every pool's demand.

    ``control()`` is what the operator wants, and ``host`` whose workers these are. ``peaks`` are
    those that a predecessor knew, by the same clock.
    """

    def __init__(
        self,
        pools: tuple[PoolSpec, ...],
        target: Target,
        demand: Callable[[], Mapping[str, PoolDemand]],
        clock: Callable[[], float],
        *,
        control: Callable[[], Control] = Control,
        host: str = "",
        peaks: Mapping[str, tuple[Peak, ...]] | None = None,
    ) -> None:
        self._pools = pools
        self._target = target
        self._demand = demand
        self._clock = clock
        self._control = control
        self._host = host
        self._peaks = dict(peaks or {})

    def step(self) -> tuple[ScaledPool, ...]:
        """Decide for every pool once. What ``demand`` raises is passed on, and nothing scaled."""
        decided = self.decide()
        for scaled in decided:
            self._apply(scaled)
        return decided

    def decide(self) -> tuple[ScaledPool, ...]:
        """The same, but nothing is scaled."""
        demand, control = self._demand(), self._control()
        return tuple(
            self._decide(pool, demand.get(pool.name, _NOTHING), control) for pool in self._pools
        )

    def _decide(self, pool: PoolSpec, demand: PoolDemand, control: Control) -> ScaledPool:
        current, now = self._target.count(pool.name), self._clock()
        order = ordered(pool, control, self._host)
        if order is not None:
            decision = Decision(order.count, order.reason, (Peak(now, order.count),))
        else:
            # Who goes on from a count alone does not shrink at once.
            peaks = self._peaks.get(pool.name) or (Peak(now, current),)
            decision = desired(demand, pool, current, peaks, now)
        self._peaks[pool.name] = decision.peaks
        return ScaledPool(pool.name, current, decision, demand, order is not None)

    def _apply(self, scaled: ScaledPool) -> None:
        decision = scaled.decision
        if decision.count != scaled.before:
            log.info(
                "pool_scaled", pool=scaled.name, before=scaled.before, count=decision.count,
                reason=decision.reason,
            )  # fmt: skip
        self._target.scale(scaled.name, decision.count, decision.reason)


def ordered(pool: PoolSpec, control: Control, host: str) -> Decision | None:
    """What the operator wants of a pool, within what there is room for; None for the policy."""
    if host and host in control.draining:
        return Decision(0, "the operator has this host drained")
    count = control.counts.get(pool.name)
    if count is None:
        return None
    if count > pool.maximum:
        return Decision(pool.maximum, f"set by the operator: {count}, room for {pool.maximum}")
    return Decision(count, "set by the operator")
