"""What Redis knows of the farm at the moment, and what the operator wants of it.

One look costs a handful of commands whose answers grow with the workers and hosts there are, and
with nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import redis

from jobs import control, scaling
from jobs.control import Control
from jobs.demand import Demand, demand
from jobs.devices import DeviceInfo, devices
from jobs.scaling import ScalingDecision
from jobs.workers import WorkerInfo, list_workers

#: Changes of the autoscaler that are told.
_DECISIONS = 50


@dataclass(frozen=True, slots=True)
class Look:
    """The farm at one moment. Times are seconds since 1970."""

    at: float
    demand: Demand
    workers: tuple[WorkerInfo, ...]
    #: The present state of each pool and host, and the last changes, newest first.
    scaling: tuple[ScalingDecision, ...]
    decisions: tuple[ScalingDecision, ...]
    control: Control
    devices: tuple[DeviceInfo, ...] = ()

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that have workers, start some, or are told not to."""
        working = {worker.host for worker in self.workers}
        return self.control.draining | working | {each.host for each in self.scaling if each.host}


class Live:
    """Looks, and passes on what the operator says. Every call blocks, and may raise RedisError."""

    def __init__(
        self, client: redis.Redis, namespace: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._clock = clock

    def look(self) -> Look:
        """The farm as it is."""
        client, namespace, now = self._client, self._namespace, self._clock()
        return Look(
            at=now,
            demand=demand(client, namespace),
            workers=tuple(list_workers(client, namespace)),
            scaling=scaling.current(client, namespace, lambda: now),
            decisions=scaling.recent(client, namespace, _DECISIONS),
            control=self.control(),
            devices=devices(client, namespace, now),
        )

    def control(self) -> Control:
        """What the operator has said that holds."""
        return control.read(self._client, self._namespace)

    def pause(self, pool: str | None) -> None:
        """Have a pool, or all, begin nothing new."""
        control.pause(self._client, self._namespace, pool)

    def resume(self, pool: str | None) -> None:
        """Let a pool, or all, go on."""
        control.resume(self._client, self._namespace, pool)

    def set_count(self, pool: str, count: int | None) -> None:
        """Have so many workers of a pool for each scaler; None leaves it to the policy."""
        if count is None:
            control.clear_count(self._client, self._namespace, pool)
        else:
            control.set_count(self._client, self._namespace, pool, count)

    def drain(self, host: str) -> None:
        """Have the workers of a host finish and go."""
        control.drain(self._client, self._namespace, host)

    def undrain(self, host: str) -> None:
        """Let a host have workers again."""
        control.undrain(self._client, self._namespace, host)
