"""The loop's one step: look at the demand of every pool, decide, have it so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from autoscaler.local import Target
from autoscaler.policy import Decision, Peak, PoolDemand, PoolSpec, desired

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ScaledPool:
    """A pool as it stands after a decision, for people and for the API."""

    name: str
    before: int
    decision: Decision


class Scaler:
    """Applies the policy to the pools of one target. ``demand()`` gives every pool's demand."""

    def __init__(
        self,
        pools: tuple[PoolSpec, ...],
        target: Target,
        demand: Callable[[], Mapping[str, PoolDemand]],
        clock: Callable[[], float],
    ) -> None:
        self._pools = pools
        self._target = target
        self._demand = demand
        self._clock = clock
        self._peaks: dict[str, tuple[Peak, ...]] = {}

    def step(self) -> tuple[ScaledPool, ...]:
        """Decide for every pool once. What ``demand`` raises is passed on, and nothing scaled."""
        demand = self._demand()
        return tuple(self._scale(pool, demand.get(pool.name, _NONE)) for pool in self._pools)

    def _scale(self, pool: PoolSpec, demand: PoolDemand) -> ScaledPool:
        current = self._target.count(pool.name)
        peaks = self._peaks.get(pool.name, ())
        decision = desired(demand, pool, current, peaks, self._clock())
        self._peaks[pool.name] = decision.peaks
        if decision.count != current:
            log.info(
                "pool_scaled", pool=pool.name, before=current, count=decision.count,
                reason=decision.reason,
            )  # fmt: skip
        self._target.scale(pool.name, decision.count)
        return ScaledPool(pool.name, current, decision)


_NONE = PoolDemand(waiting=0, in_flight=0)
