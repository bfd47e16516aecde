"""From what Redis knows of queues, plans and workers to what the policy decides by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from autoscaler.policy import PoolDemand
from jobs.demand import Demand
from jobs.gauges import slot
from jobs.leases import Unsent
from jobs.parts import Pool, queue_parts
from jobs.workers import WorkerInfo

#: The class of workers whose pace a pool's predictions are corrected by.
_CLASSES: Final[Mapping[Pool, str]] = {Pool.GPU: "gpu"}


def demands(
    found: Demand,
    now: float,
    *,
    paces: Mapping[str, float] | None = None,
    left: Mapping[Pool, float] | None = None,
    paused: Iterable[str] = (),
) -> dict[str, PoolDemand]:
    """What each pool has to do at ``now``, in seconds since 1970.

    ``paces`` are seconds of a worker for a predicted core-second, by class; ``left`` is what is
    left of the parts in work, by pool. What waits for a pool that is ``paused`` is nobody's work.
    A slot for chunks takes heads as well, and before them, so what waits for heads waits for it.
    """
    held = frozenset(paused)
    each = {
        pool: _of_pool(
            found, pool, now, (paces or {}).get(_CLASSES.get(pool, "cpu"), 1.0),
            (left or {}).get(pool, 0.0), idle=pool in held,
        )
        for pool in Pool
    }  # fmt: skip
    each[Pool.CPU] = _together(each[Pool.HEAD], each[Pool.CPU])
    return {pool.value: demand for pool, demand in each.items()}


def work_left(
    workers: Iterable[WorkerInfo], now: float, paces: Mapping[str, float]
) -> dict[Pool, float]:
    """Seconds of one worker that the parts in work will still take, by the pool they wait in."""
    left: dict[Pool, float] = {}
    for worker in workers:
        if worker.cost is None or worker.since is None or worker.queue is None:
            continue
        pool = queue_parts(worker.queue)[0]
        seconds = worker.cost * paces.get(worker.cls, 1.0) - max(0.0, now - worker.since)
        left[pool] = left.get(pool, 0.0) + max(0.0, seconds)
    return left


def serving(workers: Iterable[WorkerInfo], pool: str) -> int:
    """How many workers are of a pool, and do not drain."""
    return sum(not each.draining and slot(each.pools) == pool for each in workers)


def _of_pool(
    found: Demand, pool: Pool, now: float, pace: float, left: float, *, idle: bool
) -> PoolDemand:
    queue = found.pool(pool)
    if idle:
        return PoolDemand(0, queue.in_flight, in_flight_left=left)
    plans = found.plans.get(pool, Unsent())
    return PoolDemand(
        waiting=queue.waiting,
        in_flight=queue.in_flight,
        backlog=queue.backlog * pace,
        in_flight_left=left,
        unsent=plans.cost * pace,
        unsent_parts=plans.parts,
        oldest=0.0 if queue.oldest is None else max(0.0, now - queue.oldest),
    )


def _together(one: PoolDemand, other: PoolDemand) -> PoolDemand:
    return PoolDemand(
        one.waiting + other.waiting,
        one.in_flight + other.in_flight,
        one.backlog + other.backlog,
        one.in_flight_left + other.in_flight_left,
        one.unsent + other.unsent,
        one.unsent_parts + other.unsent_parts,
        max(one.oldest, other.oldest),
    )
