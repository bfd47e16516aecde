"""Puts on record what a scaler decided: changes always, what holds every few seconds.

Looking on is not worth failing for: where Redis does not answer, the scaling goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import redis
import structlog

from autoscaler.scaler import ScaledPool
from jobs.scaling import FADES, ScalingDecision, record

_LOG = structlog.get_logger(__name__)

#: Seconds between two records of what holds; it fades after a few times as long.
EVERY: Final = 5.0


class Ledger:
    """The record of one scaler. ``actual(pool)`` is how many workers of a pool there are."""

    def __init__(
        self,
        client: redis.Redis,
        namespace: str,
        target: str,
        actual: Callable[[str], int],
        *,
        host: str = "",
        fades: float = FADES,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._target = target
        self._actual = actual
        self._host = host
        self._fades = fades
        self._clock = clock
        self._wall = wall
        self._next = float("-inf")
        #: Changes that Redis has not taken yet.
        self._owed: list[ScalingDecision] = []

    def note(self, scaled: Sequence[ScaledPool]) -> None:
        """Record what has been decided, if it is new or was last recorded a while ago."""
        made = [self._made(each) for each in scaled]
        self._owed += [each for each in made if each.changed]
        if not self._owed and self._clock() < self._next:
            return
        told = {each.pool: each for each in made}
        held = [each for each in told.values() if not each.changed]
        try:
            record(self._client, self._namespace, *self._owed, *held, fades=self._fades)
        except redis.RedisError as error:
            _LOG.debug("decision_not_recorded", error=str(error))
            del self._owed[:-_KEPT]
            return
        self._owed.clear()
        self._next = self._clock() + EVERY

    def _made(self, scaled: ScaledPool) -> ScalingDecision:
        demand, at, now = scaled.demand, self._wall(), self._clock()
        return ScalingDecision(
            at=at,
            pool=scaled.name,
            host=self._host,
            target=self._target,
            before=scaled.before,
            count=scaled.decision.count,
            actual=self._actual(scaled.name),
            reason=scaled.decision.reason,
            backlog=round(demand.backlog + demand.unsent, 3),
            waiting=demand.waiting,
            in_flight=demand.in_flight,
            peaks=tuple((at - (now - each.at), each.count) for each in scaled.decision.peaks),
        )


#: Changes that are kept for a Redis that does not answer.
_KEPT: Final = 50
