"""How much work waits and runs: what the autoscaler decides by and the farm page shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import redis

from jobs.keys import Keys
from jobs.parts import Pool, queue_names


@dataclass(frozen=True, slots=True)
class QueueDemand:
    """Counts of messages: waiting, fetched by a worker, and given up as unreadable."""

    waiting: int = 0
    in_flight: int = 0
    dead: int = 0

    def __add__(self, other: QueueDemand) -> QueueDemand:
        return QueueDemand(
            self.waiting + other.waiting,
            self.in_flight + other.in_flight,
            self.dead + other.dead,
        )


@dataclass(frozen=True, slots=True)
class Demand:
    """The counts of every queue, by its name, and parts that wait after an error."""

    queues: Mapping[str, QueueDemand]
    retrying: int = 0

    def pool(self, pool: Pool) -> QueueDemand:
        """The sum over the queues of a pool."""
        return sum((self.queues[name] for name in queue_names((pool,))), QueueDemand())


def demand(client: redis.Redis, namespace: str) -> Demand:
    """Count, in one round trip. Raises redis.RedisError."""
    keys, names = Keys(namespace), queue_names(tuple(Pool))
    pipeline = client.pipeline(transaction=True)
    for name in names:
        pipeline.llen(keys.queue(name))
        pipeline.hlen(keys.messages(name))
        pipeline.zcard(keys.dead(name))
    pipeline.zcard(keys.retries)
    *counts, retrying = pipeline.execute()
    triples = zip(counts[::3], counts[1::3], counts[2::3], strict=True)
    queues = {
        name: QueueDemand(waiting, max(0, held - waiting), dead)
        for name, (waiting, held, dead) in zip(names, triples, strict=True)
    }
    return Demand(queues, retrying)
