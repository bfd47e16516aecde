"""What the farm looks like at the moment, as gauges: looked up when somebody asks.

A handful of round trips, each bounded: queues are sampled, and the workers given by the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

import redis

from jobs import control, scaling
from jobs.demand import Demand, demand
from jobs.devices import devices
from jobs.leases import Unsent
from jobs.metrics import (
    BACKLOG,
    BACKLOG_PER_WORKER,
    CIRCUIT_OPEN,
    PARTS,
    POOL_ACTUAL,
    POOL_BUSY,
    POOL_DESIRED,
    POOL_DRAINING,
    POOL_PAUSED,
    POOL_WORKERS,
    QUEUE_DEPTH,
    QUEUE_OLDEST,
    Metric,
)
from jobs.parts import Pool
from jobs.tallies import Labels
from jobs.workers import WorkerInfo

Gauges = dict[Metric, dict[Labels, float]]


#: Devices that are told of; the names of hosts are the one label that could grow.
_DEVICES: Final = 200


def gauges(
    client: redis.Redis, namespace: str, workers: Sequence[WorkerInfo], now: float
) -> Gauges:
    """Every gauge that Redis can tell; ``now`` in seconds since 1970. Raises redis.RedisError."""
    waiting = demand(client, namespace)
    return {
        **of_queues(waiting, now),
        **of_pools(waiting, workers),
        **of_scaling(scaling.current(client, namespace, lambda: now)),
        CIRCUIT_OPEN: {
            (each.host, each.device, each.encoder): float(each.circuit != "closed")
            for each in islice(devices(client, namespace, now), _DEVICES)
        },
        POOL_PAUSED: _each_pool(control.paused(client, namespace).__contains__),
    }


def of_queues(found: Demand, now: float) -> Gauges:
    """Depth and age of each queue, and where parts are."""
    queues = found.queues
    states = {
        "waiting": sum(queue.waiting for queue in queues.values()),
        "in_flight": sum(queue.in_flight for queue in queues.values()),
        "retrying": found.retrying,
        "dead": sum(queue.dead for queue in queues.values()),
    }
    return {
        QUEUE_DEPTH: {(name,): float(queue.waiting) for name, queue in queues.items()},
        QUEUE_OLDEST: {
            (name,): 0.0 if queue.oldest is None else max(0.0, now - queue.oldest)
            for name, queue in queues.items()
        },
        PARTS: {(state,): float(count) for state, count in states.items()},
    }


def of_pools(found: Demand, workers: Sequence[WorkerInfo]) -> Gauges:
    """Workers of each pool and what is before them. What of long films is not sent yet counts."""
    kinds = Counter((worker.pools, bool(worker.part), worker.draining) for worker in workers)
    there, busy, leaving = Counter[Pool](), Counter[Pool](), Counter[Pool]()
    for (pools, working, draining), count in kinds.items():
        there[slot(pools)] += count
        busy[slot(pools)] += count * working
        leaving[slot(pools)] += count * draining

    def backlog(pool: Pool) -> float:
        return found.pool(pool).backlog + found.plans.get(pool, Unsent()).cost

    return {
        BACKLOG: _each_pool(backlog),
        BACKLOG_PER_WORKER: _each_pool(lambda pool: backlog(pool) / max(1, there[pool])),
        POOL_WORKERS: _each_pool(lambda pool: there[pool]),
        POOL_BUSY: _each_pool(lambda pool: busy[pool]),
        POOL_DRAINING: _each_pool(lambda pool: leaving[pool]),
    }


def of_scaling(decisions: tuple[scaling.ScalingDecision, ...]) -> Gauges:
    """What the autoscaler wants and has, over all hosts; nothing of a pool that none scales.

    Where a pool of the whole farm is scaled, hosts only fill the slots that they were given by it.
    """
    wide = {decision.pool for decision in decisions if not decision.host}
    decisions = tuple(each for each in decisions if not each.host or each.pool not in wide)
    desired: Counter[Labels] = Counter()
    actual: Counter[Labels] = Counter()
    for decision in decisions:
        desired[(decision.pool,)] += decision.count
        actual[(decision.pool,)] += decision.actual
    return {POOL_DESIRED: _floats(desired), POOL_ACTUAL: _floats(actual)}


def slot(pools: tuple[Pool, ...]) -> Pool:
    """The pool that a worker counts in: encode slots take heads as well."""
    return max(pools, key=tuple(Pool).index)


def _each_pool(of: Callable[[Pool], float]) -> dict[Labels, float]:
    return {(pool.value,): float(of(pool)) for pool in Pool}


def _floats(counts: Mapping[Labels, int]) -> dict[Labels, float]:
    return {labels: float(count) for labels, count in counts.items()}
